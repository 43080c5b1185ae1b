// Times training steps or inference passes of a ResNet on random data that stays in memory. bench/README.md describes
// the protocol; bench/peers/pytorch_step.py does the same work in PyTorch, with the same options and answers.
//
//   step_bench --model resnet50 --batch 32 --precision bf16 --mode train --threads 2 --seconds 20 --json
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/bench_case.h"
#include "bench/calibration.h"
#include "bench/layer_times.h"
#include "bench/process_usage.h"
#include "bench/step_timing.h"
#include "bench/step_workload.h"
#include "engine/backend.h"
#include "engine/train/device_choice.h"

namespace {

using namespace engine;
using namespace engine::bench;
using Json = nlohmann::ordered_json;

struct Options {
  WorkloadOptions work;
  int threads = num_threads();
  double seconds = 10, warmup_limit = 180;
  int losses = 3;
  std::string exchange;    // a folder for weights and batch
  std::string force_impl;  // own, cudnn; empty: what is faster
  bool json = false, serve = false, calibrate = false, layers = false;
};

constexpr const char* kUsage =
    R"(step_bench: time of training steps or inference passes on random data in memory

  --model NAME           resnet50, resnet20, ...                             (resnet50)
  --batch N              images a step                                       (32)
  --image-size S         height and width                                    (the model's usual one)
  --precision P          fp32, tf32, bf16, fp16                              (fp32)
  --mode train|inference                                                     (train)
  --device D             cpu, cuda, cuda:1, emulated                         (cpu)
  --force-impl own|cudnn on a GPU: instead of the faster one for each convolution
  --threads T                                                                (all processors)
  --seconds S            how long to measure after the warm-up               (10)
  --warmup-limit S       give up waiting for stable times after S seconds    (180)
  --lr LR                learning rate                                       (0.001)
  --losses N             how many first losses to report                     (3)
  --rotate N             another of N batches of u8 images each step; 0: one batch of f32 images (0)
  --exchange DIR         write initial weights and batch for pytorch_step.py
  --json                 JSON instead of a few lines for people
  --serve                warm up, then obey lines on stdin: "run SECONDS", "quit"
  --layers               time each convolution by itself, and end
  --calibrate            time a fixed piece of work instead of a model; with --serve on each "run"
)";

Options parse(const std::vector<std::string>& args) {
  Options o;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& flag = args[i];
    const auto value = [&]() -> const std::string& {
      check(i + 1 < args.size(), flag, " needs a value");
      return args[++i];
    };
    const auto number = [&] {
      const std::string& text = value();
      size_t used = 0;
      double result = 0;
      try {
        result = std::stod(text, &used);
      } catch (const std::exception&) {
        used = 0;
      }
      check(used == text.size() && result >= 0, flag, " is '", text, "', expected a number from 0 up");
      return result;
    };
    const auto choice = [&](const std::string& first, const std::string& second) {
      const std::string& text = value();
      check(text == first || text == second, flag, " is '", text, "', expected ", first, " or ", second);
      return text == second;
    };
    if (flag == "--model")
      o.work.model = value();
    else if (flag == "--batch")
      o.work.batch = static_cast<int64_t>(number());
    else if (flag == "--image-size")
      o.work.image_size = static_cast<int64_t>(number());
    else if (flag == "--precision")
      o.work.precision = named_precision(value());
    else if (flag == "--mode")
      o.work.mode = choice("train", "inference") ? Mode::inference : Mode::train;
    else if (flag == "--device")
      o.work.device = choose_device(value()).device;
    else if (flag == "--force-impl")
      o.force_impl = value();
    else if (flag == "--threads")
      o.threads = static_cast<int>(number());
    else if (flag == "--seconds")
      o.seconds = number();
    else if (flag == "--warmup-limit")
      o.warmup_limit = number();
    else if (flag == "--lr")
      o.work.lr = static_cast<float>(number());
    else if (flag == "--losses")
      o.losses = static_cast<int>(number());
    else if (flag == "--rotate")
      o.work.rotating_batches = static_cast<int64_t>(number());
    else if (flag == "--exchange")
      o.exchange = value();
    else if (flag == "--json")
      o.json = true;
    else if (flag == "--serve")
      o.serve = true;
    else if (flag == "--layers")
      o.layers = true;
    else if (flag == "--calibrate")
      o.calibrate = true;
    else
      fail(ErrorKind::usage, "unknown flag ", flag, "; step_bench --help lists the known ones");
  }
  check(!o.layers || o.work.device == Device{}, "--layers times the CPU's convolutions, --device is ", o.work.device);
  check(o.threads >= 1, "--threads is ", o.threads, ", expected at least 1");
  return o;
}

Json describe(const Options& o) {
  return {{"program", "step_bench"},
          {"model", o.work.model},
          {"batch", o.work.batch},
          {"precision", precision_name(o.work.precision)},
          {"mode", name_of(o.work.mode)},
          {"threads", o.threads},
          {"rotate", o.work.rotating_batches},
          {"device", to_string(o.work.device)},
          {"backend", backend(o.work.device).description()}};
}

Json calibration_report(int threads) {
  const Calibration result = calibrate(threads);
  return {{"compute_s", result.compute_seconds}, {"copy_s", result.copy_seconds}};
}

void run_layers(const Options& o) {
  const models::ResNet net = models::make_resnet(o.work.model);
  const int64_t size = o.work.image_size > 0 ? o.work.image_size : net.specification().default_image_size();
  Json report = describe(o);
  report["layers"] = Json::array();
  for (const LayerTime& time : measure_layers(net, {.batch = o.work.batch,
                                                   .image_size = size,
                                                   .precision = o.work.precision.dtype,
                                                   .training = o.work.mode == Mode::train})) {
    const auto& s = time.shape;
    report["layers"].push_back({{"layers", time.layers},
                                {"direction", name_of(time.direction)},
                                {"shape",
                                 {{"n", s.n},
                                  {"h", s.h},
                                  {"w", s.w},
                                  {"c", s.c},
                                  {"k", s.k},
                                  {"r", s.r},
                                  {"stride", s.stride},
                                  {"padding", s.padding},
                                  {"groups", s.groups}}},
                                {"implementation", time.implementation},
                                {"ms", time.seconds * 1e3},
                                {"gflop_per_s", time.gflop_per_s()}});
    if (o.json) continue;
    std::printf("%2zu x %-22s %-16s %9.3f ms %8.1f GFLOP/s  %s\n", time.layers.size(), time.layers[0].c_str(),
                name_of(time.direction), time.seconds * 1e3, time.gflop_per_s(), time.implementation.c_str());
  }
  report["plans"] = Json::parse(backend({}).export_plans());
  report["fallbacks"] = fallbacks();
  if (o.json) print_line(report);
}

void print_for_people(const Json& report) {
  const Json &start = report["start"], &run = report["run"];
  std::printf("%s %s %s, batch %ld of %ldx%ld, %d threads, %s\n", start["model"].get<std::string>().c_str(),
              start["precision"].get<std::string>().c_str(), start["mode"].get<std::string>().c_str(),
              start["batch"].get<long>(), start["image_size"].get<long>(), start["image_size"].get<long>(),
              start["threads"].get<int>(), start["backend"].get<std::string>().c_str());
  std::printf("%.2f img/s; step median %.2f ms, p5 %.2f, p95 %.2f (%d steps); first step %.2f s, warm-up %d steps%s\n",
              run["img_per_s"].get<double>(), run["median_s"].get<double>() * 1e3, run["p5_s"].get<double>() * 1e3,
              run["p95_s"].get<double>() * 1e3, run["steps"].get<int>(), start["first_step_s"].get<double>(),
              start["warmup_steps"].get<int>(), start["stable"].get<bool>() ? "" : " (NOT STABLE)");
  std::printf("peak memory %.0f MiB (tensors %.0f MiB); %.0f page faults a step; first losses %s\n",
              run["memory"]["peak_resident_bytes"].get<double>() / (1 << 20),
              run["memory"]["engine_peak_bytes"].get<double>() / (1 << 20), run["minor_faults_per_step"].get<double>(),
              start["losses"].dump().c_str());
  for (const auto& [reason, count] : start["fallbacks"].items())
    std::printf("fallback, %d times: %s\n", count.get<int>(), reason.c_str());
}

void run_steps(const Options& o) {
  const ProcessUsage bare = process_usage();
  if (!o.force_impl.empty()) backend(o.work.device).force_implementation(o.force_impl);
  backend(o.work.device).set_tf32(o.work.precision.tf32);
  Workload work(o.work);
  if (!o.exchange.empty()) work.write_exchange(o.exchange);
  Json losses = Json::array();
  double first_step = 0;
  for (int i = 0; i < std::max(o.losses, 1); ++i) {
    Tensor loss;
    const double seconds = timed([&] {
      loss = work.step();
      work.finish();
    });
    if (i == 0) first_step = seconds;
    losses.push_back(loss.defined() ? loss.item() : work.loss());
  }
  const Step step = [&] {
    work.step();
    work.finish();
  };
  const WarmUp warm = warm_up(step, o.warmup_limit);
  const auto measured = [&](double seconds) {
    Json run = measure(step, o.work.batch, seconds);
    const MemoryStats stats = memory_stats(o.work.device);
    run["memory"].update({{"engine_peak_bytes", stats.peak}, {"engine_reserved_bytes", stats.reserved}});
    return run;
  };
  Json report = describe(o);
  report.update({{"image_size", work.image_size()},
                 {"losses", losses},
                 {"first_step_s", first_step},
                 {"warmup_steps", warm.seconds.size()},
                 {"warmup_s", warm.seconds},
                 {"stable", warm.stable},
                 {"bare_resident_bytes", bare.resident_bytes},
                 {"memory", memory_report()},
                 {"fallbacks", fallbacks()},
                 {"plans", Json::parse(backend(o.work.device).export_plans())}});
  if (o.serve) {
    print_line(report);
    return serve(measured);
  }
  const Json result = {{"start", report}, {"run", measured(o.seconds)}};
  if (o.json)
    print_line(result);
  else
    print_for_people(result);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  const Options o = parse(args);
  if (o.calibrate) {
    const auto answer = [&](double) { return calibration_report(o.threads); };
    print_line(answer(0));
    if (o.serve) serve(answer);
    return 0;
  }
  set_num_threads(o.threads);
  if (o.layers)
    run_layers(o);
  else
    run_steps(o);
  return 0;
} catch (const engine::Error& error) {
  std::fprintf(stderr, "step_bench: %s\n", error.what());
  return static_cast<int>(error.kind());
} catch (const std::exception& error) {
  std::fprintf(stderr, "step_bench: %s\n", error.what());
  return 1;
}
