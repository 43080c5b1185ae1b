// Times every kernel of a ResNet's training step by itself, by the device's own events: GB/s and TFLOP/s from the Cost
// that each kernel states.
//
//   kernel_bench --device cuda --model resnet50 --batch 256 --precision bf16
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/ceilings.h"
#include "bench/kernel_cases.h"
#include "engine/cuda/load.h"
#include "engine/error.h"

namespace {

using namespace engine;
using namespace engine::bench;
using kernels::DataType;
using kernels::Runtime;
using kernels::Stream;
using Json = nlohmann::ordered_json;

struct Options {
  std::string device = "cuda", model = "resnet50", precision = "bf16";
  int64_t batch = 256, image_size = 0;
  bool json = false, quick = false;
};

constexpr const char* kUsage =
    R"(kernel_bench: time of each kernel of a training step

  --device cuda|emulated                                          (cuda)
  --model NAME           whose convolutions and batch norms       (resnet50)
  --batch N              images                                   (256)
  --image-size S         height and width                         (the model's usual one)
  --precision P          fp32, bf16 or fp16                       (bf16)
  --quick                resnet20, 1 image of 8x8, one run each: does it work?
  --json                 JSON instead of a table
)";

int64_t number(const std::string& flag, const std::string& text) {
  check(!text.empty() && text.find_first_not_of("0123456789") == std::string::npos && text.size() < 10, flag, " is '",
        text, "', expected a number");
  return std::stol(text);
}

Options parse(const std::vector<std::string>& args) {
  Options o;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& flag = args[i];
    const auto value = [&]() -> const std::string& {
      check(i + 1 < args.size(), flag, " needs a value");
      return args[++i];
    };
    if (flag == "--device")
      o.device = value();
    else if (flag == "--model")
      o.model = value();
    else if (flag == "--precision")
      o.precision = value();
    else if (flag == "--batch")
      o.batch = number(flag, value());
    else if (flag == "--image-size")
      o.image_size = number(flag, value());
    else if (flag == "--json")
      o.json = true;
    else if (flag == "--quick")
      o.quick = true;
    else
      fail(ErrorKind::usage, "unknown flag ", flag, "; kernel_bench --help lists the known ones");
  }
  check(o.device == "cuda" || o.device == "emulated", "--device is '", o.device, "', expected cuda or emulated");
  check(o.precision == "fp32" || o.precision == "bf16" || o.precision == "fp16", "--precision is '", o.precision,
        "', expected fp32, bf16 or fp16");
  if (o.quick) {
    o.model = "resnet20";
    o.batch = 1;
    o.image_size = 8;
  }
  return o;
}

const kernels::Module& find_module(const Options& o) {
  if (o.device == "emulated") return kernels::emulated_module();
  std::string reason;
  const kernels::Module* module = cuda::load_module(&reason);
  if (module != nullptr) reason = cuda::why_unusable(*module, 0);
  if (module == nullptr || !reason.empty()) fail(ErrorKind::device, "kernel_bench: ", reason);
  return *module;
}

void must(const kernels::Status& status, const char* what) {
  if (!status.ok()) fail(ErrorKind::device, "kernel_bench: ", what, " failed: ", status.text);
}

class Timer {
 public:
  Timer(const Runtime& runtime, Stream stream, bool quick) : runtime_(runtime), stream_(stream), quick_(quick) {
    must(runtime_.event_create(&begin_), "making an event");
    must(runtime_.event_create(&end_), "making an event");
  }
  ~Timer() {
    runtime_.event_destroy(begin_);
    runtime_.event_destroy(end_);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Milliseconds of one launch: the median over windows that are long against the events' resolution.
  double time(const KernelCase& kernel) {
    int launches = 1;
    double once = window(kernel, 1);
    if (quick_) return once;
    once = window(kernel, 3);
    launches = std::clamp(static_cast<int>(kWindow / std::max(once, 1e-3)), 3, 1000);
    std::vector<double> times;
    for (int i = 0; i < kWindows; ++i) times.push_back(window(kernel, launches));
    std::nth_element(times.begin(), times.begin() + kWindows / 2, times.end());
    return times[kWindows / 2];
  }

 private:
  static constexpr double kWindow = 10;  // ms
  static constexpr int kWindows = 5;

  double window(const KernelCase& kernel, int launches) {
    must(runtime_.event_record(begin_, stream_), "recording an event");
    for (int i = 0; i < launches; ++i)
      check(kernel.launch(), "kernel_bench: ", kernel.kernel, " does not support ", kernel.shape);
    must(runtime_.event_record(end_, stream_), "recording an event");
    must(runtime_.event_synchronize(end_), kernel.kernel.c_str());
    must(runtime_.last_error(), kernel.kernel.c_str());
    float ms = 0;
    must(runtime_.elapsed_ms(&ms, begin_, end_), "reading an event");
    return static_cast<double>(ms) / launches;
  }

  const Runtime& runtime_;
  Stream stream_;
  bool quick_;
  kernels::Event begin_ = nullptr, end_ = nullptr;
};

void run(const Options& o) {
  const kernels::Module& module = find_module(o);
  const Runtime& runtime = *module.runtime;
  must(runtime.set_device(0), "choosing the device");
  Stream stream = nullptr;
  must(runtime.stream_create(&stream), "making a stream");
  kernels::DeviceProperties properties;
  must(runtime.device_properties(0, &properties), "reading the device's properties");

  models::ResNet net = models::make_resnet(o.model);
  int64_t parameters = 0;
  for (const NamedParameter& parameter : net.parameters()) parameters += parameter.tensor.numel();
  const int64_t size = o.image_size > 0 ? o.image_size : net.specification().default_image_size();
  const DataType type = o.precision == "fp32" ? DataType::f32 : o.precision == "bf16" ? DataType::bf16 : DataType::f16;

  Json report = {{"program", "kernel_bench"}, {"device", properties.name}, {"model", o.model},
                 {"batch", o.batch},          {"image_size", size},        {"precision", o.precision}};
  if (o.device == "cuda") {  // what bench/kernel_table takes the shares of; the emulator's mean nothing
    const DType dtype = type == DataType::f32 ? DType::f32 : type == DataType::bf16 ? DType::bf16 : DType::f16;
    const Ceilings ceilings = measure_ceilings({DeviceType::cuda, 0}, dtype);
    report["ceilings"] = {{"bytes_per_s", ceilings.bytes_per_s}, {"flops_per_s", ceilings.flops_per_s}};
  }
  Json& rows = report["kernels"] = Json::array();
  Timer timer(runtime, stream, o.quick);
  if (!o.json)
    std::printf("%-34s %-34s %10s %10s %10s\n", properties.name, o.precision.c_str(), "us", "GB/s", "TFLOP/s");
  for (const MakeCase& make :
       kernel_cases(module, distinct_convolutions(net, o.batch, size),
                    {.type = type, .parameters = parameters, .classes = net.num_classes()}, stream)) {
    const KernelCase kernel = make();
    const double ms = timer.time(kernel);
    const double gigabytes = static_cast<double>(kernel.cost.bytes) / ms * 1e-6;
    const double teraflops = static_cast<double>(kernel.cost.flops) / ms * 1e-9;
    rows.push_back({{"kernel", kernel.kernel},
                    {"shape", kernel.shape},
                    {"ms", ms},
                    {"bytes", kernel.cost.bytes},
                    {"flops", kernel.cost.flops},
                    {"gb_per_s", gigabytes},
                    {"tflop_per_s", teraflops}});
    if (!o.json)
      std::printf("%-34s %-34s %10.1f %10.1f %10.1f\n", kernel.kernel.c_str(), kernel.shape.c_str(), ms * 1e3,
                  gigabytes, teraflops);
  }
  must(runtime.stream_destroy(stream), "giving the stream back");
  if (o.json) std::printf("%s\n", report.dump().c_str());
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  run(parse(args));
  return 0;
} catch (const engine::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return static_cast<int>(error.kind());
} catch (const std::exception& error) {
  std::fprintf(stderr, "kernel_bench: %s\n", error.what());
  return 1;
}
