// Times every operation of the CPU's table over the shapes of ResNets, with Google Benchmark: GB/s and GFLOP/s from
// what an operation must at least move and compute. Its counterpart on a GPU is kernel_bench.
//
//   cpu_kernels --model resnet50 --batch 32 --precision bf16 --benchmark_filter=conv_forward
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "bench/kernels/cpu_cases.h"
#include "engine/engine.h"

namespace {

using namespace engine;
using namespace engine::bench;

constexpr const char* kUsage =
    R"(cpu_kernels: time of each operation on the CPU; everything else is Google Benchmark's: --benchmark_help

  --model NAME           whose shapes: resnet18, resnet50, resnet20, ...   (all three)
  --batch N              images                                            (32, at 32x32 128)
  --precision P          fp32, bf16                                        (both)
  --threads T                                                              (all processors)
  --quick                resnet20, one image, shortest times: does it work?
)";

struct Options {
  std::vector<std::string> models = {"resnet18", "resnet50", "resnet20"};
  std::vector<DType> dtypes = {DType::f32, DType::bf16};
  int64_t batch = 0;
  bool quick = false;
};

// Takes what it knows out of argv and leaves the rest to Google Benchmark.
Options parse(int& argc, char** argv) {
  Options o;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const auto value = [&]() -> std::string {
      check(i + 1 < argc, flag, " needs a value");
      return argv[++i];
    };
    const auto number = [&] {
      const std::string text = value();
      check(!text.empty() && text.find_first_not_of("0123456789") == std::string::npos && text.size() < 7 &&
                std::stol(text) > 0,
            flag, " is '", text, "', expected a number from 1 up");
      return std::stol(text);
    };
    if (flag == "--model") {
      o.models = {value()};
    } else if (flag == "--batch") {
      o.batch = number();
    } else if (flag == "--precision") {
      const std::string name = value();
      check(name == "fp32" || name == "bf16", "--precision is '", name, "', expected fp32 or bf16");
      o.dtypes = {name == "fp32" ? DType::f32 : DType::bf16};
    } else if (flag == "--threads") {
      set_num_threads(static_cast<int>(number()));
    } else if (flag == "--quick") {
      o.quick = true;
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  if (o.quick) o.models = {"resnet20"};
  return o;
}

void run_case(benchmark::State& state, const NamedCase& named) {
  try {
    const CpuCase op = named.make();
    op.run();  // chooses an implementation where there is a choice
    for (auto _ : state) op.run();
    const auto rate = [](double amount) {
      return benchmark::Counter(amount, benchmark::Counter::kIsIterationInvariantRate);
    };
    state.counters["GB/s"] = rate(op.cost.bytes() * 1e-9);
    if (op.cost.flops > 0) state.counters["GFLOP/s"] = rate(op.cost.flops * 1e-9);
  } catch (const std::exception& error) {
    state.SkipWithError(error.what());
  }
}

// Prints as usual, and remembers whether an operation failed.
class Reporter : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    reported_ += runs.size();
    for (const Run& run : runs) failed_ = failed_ || run.error_occurred;
    ConsoleReporter::ReportRuns(runs);
  }
  bool passed() const { return reported_ > 0 && !failed_; }

 private:
  size_t reported_ = 0;
  bool failed_ = false;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc == 2 && std::string(argv[1]) == "--help") {
    std::fputs(kUsage, stdout);
    return 0;
  }
  const Options o = parse(argc, argv);
  std::vector<char*> flags(argv, argv + argc);
  std::string shortest = "--benchmark_min_time=0.0001";
  if (o.quick) flags.push_back(shortest.data());
  int count = static_cast<int>(flags.size());
  benchmark::Initialize(&count, flags.data());
  if (benchmark::ReportUnrecognizedArguments(count, flags.data())) return 2;

  std::map<std::string, NamedCase> cases;  // equal shapes of several nets once
  for (const std::string& model : o.models) {
    models::ResNet net = models::make_resnet(model, {.initialize = false});
    const bool small = net.specification().for_small_images();
    const int64_t batch = o.quick ? 1 : o.batch > 0 ? o.batch : small ? 128 : 32;
    const int64_t size = o.quick ? 8 : net.specification().default_image_size();
    for (const DType dtype : o.dtypes)
      for (NamedCase& named : cpu_cases(net, {.batch = batch, .image_size = size, .dtype = dtype}))
        cases.try_emplace(named.name, std::move(named));
  }
  for (const auto& [name, named] : cases)
    benchmark::RegisterBenchmark(name.c_str(), run_case, named)->UseRealTime()->Unit(benchmark::kMicrosecond);
  Reporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::Shutdown();
  return reporter.passed() ? 0 : 1;
} catch (const engine::Error& error) {
  std::fprintf(stderr, "cpu_kernels: %s\n", error.what());
  return static_cast<int>(error.kind());
} catch (const std::exception& error) {
  std::fprintf(stderr, "cpu_kernels: %s\n", error.what());
  return 1;
}
