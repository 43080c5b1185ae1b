#include "bench/profile.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include "bench/statistics.h"
#include "bench/step_timing.h"
#include "engine/error.h"

namespace engine::bench {
namespace {

constexpr double kHostMargin = 1.5;           // the filler outlasts the host's part of a step by this much
constexpr int64_t kFillerElements = 1 << 24;  // of f32: 64 MiB, tens of microseconds on a large GPU
constexpr int kMostFillers = 2000;

double median(const std::vector<double>& values) {
  return values.empty() ? 0 : quantile(values, 0.5);
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Work that keeps a GPU busy while the host launches a step behind it.
class Filler {
 public:
  Filler(Device where, double host_seconds) : device_(backend(where)) {
    if (where.type != DeviceType::cuda) return;
    from_ = Tensor::zeros({kFillerElements}, {DType::f32, where});
    to_ = Tensor::zeros({kFillerElements}, {DType::f32, where});
    const std::unique_ptr<Timeline> timeline = device_.make_timeline();
    device_.convert(from_, to_);
    timeline->mark();
    device_.convert(from_, to_);
    timeline->mark();
    const double one = timeline->finish().back();
    runs_ = std::clamp(static_cast<int>(std::ceil(kHostMargin * host_seconds / one)), 1, kMostFillers);
  }
  void run() const {
    for (int i = 0; i < runs_; ++i) device_.convert(from_, to_);
  }

 private:
  Backend& device_;
  Tensor from_, to_;
  int runs_ = 0;
};

class StepProfiler {
 public:
  explicit StepProfiler(const ProfileOptions& options)
      : options_(options), device_(options.work.device), turns_(device_.type == DeviceType::cpu) {}

  StepProfile run() {
    // Without the decorator in place a GPU's workload records its steps, so there the two kinds are two workloads.
    std::unique_ptr<Workload> work = turns_ ? std::make_unique<Workload>(options_.work) : workload_without_recording();
    ProfilingBackend profiler(backend(device_), device_, work->net().parameters());
    warm_up([&] { step(*work); }, options_.warmup_limit);
    const auto before_host = std::chrono::steady_clock::now();
    work->step();
    const Filler filler(device_, seconds_since(before_host));
    work->finish();

    const auto start = std::chrono::steady_clock::now();
    while (unfinished(profiled_.size(), start)) {
      filler.run();
      profiled_step(*work, profiler);
      if (turns_) plain_.push_back(timed([&] { step(*work); }));
    }
    if (!turns_) time_plain_steps(work);
    return summarize(profiler.calls(), profiled_, plain_);
  }

 private:
  static void step(Workload& work) {
    work.step();
    work.finish();
  }

  bool unfinished(size_t steps, std::chrono::steady_clock::time_point start) const {
    return steps < static_cast<size_t>(kFewestSteps) || seconds_since(start) < options_.seconds;
  }

  std::unique_ptr<Workload> workload_without_recording() const {
    ProfilingBackend passive(backend(device_), device_, {});
    const SubstituteBackend substitute(device_, passive);
    return std::make_unique<Workload>(options_.work);
  }

  void profiled_step(Workload& work, ProfilingBackend& profiler) {
    const SubstituteBackend substitute(device_, profiler);
    profiler.begin_step();
    work.step();
    profiled_.push_back(profiler.end_step());
  }

  void time_plain_steps(std::unique_ptr<Workload>& work) {
    work.reset();  // its memory
    Workload recorded(options_.work);
    warm_up([&] { step(recorded); }, options_.warmup_limit);
    const auto start = std::chrono::steady_clock::now();
    while (unfinished(plain_.size(), start)) plain_.push_back(timed([&] { step(recorded); }));
  }

  const ProfileOptions& options_;
  const Device device_;
  const bool turns_;
  std::vector<TimedStep> profiled_;
  std::vector<double> plain_;
};

}  // namespace

double StepProfile::calls_seconds() const {
  double sum = 0;
  for (const ProfiledCall& call : calls) sum += call.seconds;
  return sum;
}

bool StepProfile::consistent() const {
  return std::abs(difference()) <= kAgreement;
}

StepProfile summarize(const std::vector<OpCall>& calls, const std::vector<TimedStep>& profiled,
                      const std::vector<double>& plain_seconds) {
  StepProfile result;
  result.steps = static_cast<int>(profiled.size());
  result.step_seconds = median(plain_seconds);
  std::vector<double> whole, outside;
  for (const TimedStep& step : profiled) {
    check(step.calls.size() == calls.size(), "a profile of ", calls.size(), " operations has a step of ",
          step.calls.size());
    double inside = 0;
    for (const double seconds : step.calls) inside += seconds;
    whole.push_back(step.seconds);
    outside.push_back(step.seconds - inside);
  }
  result.profiled_seconds = median(whole);
  result.outside_seconds = median(outside);
  for (size_t i = 0; i < calls.size(); ++i) {
    std::vector<double> times;
    for (const TimedStep& step : profiled) times.push_back(step.calls[i]);
    result.calls.push_back({.call = calls[i], .seconds = median(times), .implementation = {}});
  }
  return result;
}

StepProfile profile_step(const ProfileOptions& options) {
  StepProfile profile = StepProfiler(options).run();
  const Choices choices = chosen_implementations(options.work.device);
  for (ProfiledCall& call : profile.calls)
    if (call.call.convolution)
      call.implementation = implementation_of(*call.call.convolution, options.work.device, choices);
  return profile;
}

}  // namespace engine::bench
