#include "bench/measure_cell.h"

#include <chrono>
#include <fstream>
#include <new>

#include "bench/calibration.h"
#include "bench/process_usage.h"
#include "bench/step_timing.h"
#include "engine/backend.h"
#include "engine/fallback.h"
#include "models/summary.h"

namespace engine::bench {
namespace {

// The precision that is worth waiting for is waited for this many times the least time.
constexpr double kPatience = 4;
constexpr size_t kFewestSteps = 10;  // with which a median has an interval worth having
constexpr size_t kQuickSteps = 2;

void reset_peak_resident() {
  std::ofstream("/proc/self/clear_refs") << 5;  // without permission the peak is that of the whole process
}

void describe_model(CellResult& result) {
  const WorkloadOptions& work = result.cell.work;
  models::ResNet net = models::make_resnet(work.model, {.initialize = false});
  const models::Summary summary = models::summarize(net, 1, work.image_size, work.image_size);
  result.parameters = static_cast<double>(summary.parameters);
  result.macs = static_cast<double>(summary.macs);
  for (const models::LayerSummary& layer : summary.layers)
    if (layer.macs > 0) result.activations += static_cast<double>(layer.output.numel());
}

// Bytes that a few steps take at most beside what is in use anyway.
double step_bytes(WorkloadOptions work, int64_t batch) {
  const MemoryStats before = memory_stats(work.device);
  work.batch = batch;
  reset_peak_memory(work.device);
  Workload workload(work);
  for (int i = 0; i < 2; ++i) workload.step();
  workload.finish();
  return static_cast<double>(memory_stats(work.device).peak) - static_cast<double>(before.in_use);
}

// A step takes bytes(n) = fixed + n * each, which two sizes tell. 0 if not even these fit.
int64_t estimate_largest_batch(const WorkloadOptions& work) {
  constexpr int64_t kSmall = 2, kLarger = 4;
  if (work.batch <= kLarger) return 0;
  const double small = step_bytes(work, kSmall), larger = step_bytes(work, kLarger);
  const double each = std::max((larger - small) / (kLarger - kSmall), 1.0);
  const MemoryStats now = memory_stats(work.device);
  // Not the last quarter: blocks of different sizes leave gaps.
  const double room = 0.75 * (static_cast<double>(now.limit) - static_cast<double>(now.in_use)) - small + kSmall * each;
  return std::clamp(static_cast<int64_t>(room / each), kLarger, std::max(kLarger, 3 * work.batch / 4));
}

// For the message of a batch that did not fit. On the CPU nothing is tried: the memory may not be there for the taking.
std::string advise_batch(const WorkloadOptions& work) {
  try {
    int64_t batch = estimate_largest_batch(work);
    if (batch == 0) return {};
    if (work.device.type == DeviceType::cpu) return "; a batch of about " + std::to_string(batch) + " should fit";
    for (; batch > 0; batch /= 2) {
      try {
        step_bytes(work, batch);
        return "; a batch of " + std::to_string(batch) + " fits";
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::memory) throw;
      }
    }
  } catch (const std::exception&) {
    // The first failure is what matters.
  }
  return {};
}

}  // namespace

CellRunner::CellRunner(Device device, const CellOptions& options)
    : device_(device), options_(options), monitor_(device) {}

const Ceilings& CellRunner::ceilings(Precision precision) {
  backend(device_).set_tf32(precision.tf32);
  const auto found = ceilings_.find(precision);
  if (found != ceilings_.end()) return found->second;
  const double long_enough = options_.quick ? 0.001 : 0.02;
  return ceilings_[precision] = measure_ceilings(device_, precision.dtype, long_enough);
}

// Processors that are slower than before make slower steps; a GPU's steps do not wait for them.
double CellRunner::calibration(int threads) {
  if (options_.quick || device_.type != DeviceType::cpu) return 0;
  const Calibration result = calibrate(threads);
  return last_calibration_ = result.compute_seconds + result.copy_seconds;
}

void CellRunner::time_steps(CellResult& result) {
  const double before = last_calibration_ > 0 ? last_calibration_ : calibration(result.cell.threads);
  clear_fallbacks();
  reset_peak_memory(device_);
  reset_peak_resident();
  Workload workload(result.cell.work);
  const Step step = [&] {
    workload.step();
    workload.finish();
  };
  result.first_step_seconds = timed(step);
  const StabilityRule rule = options_.quick
                                 ? StabilityRule{.tolerance = 1e9, .seconds = 0, .min_steps = 1, .min_long_steps = 1}
                                 : StabilityRule{};
  result.evidence.warm = false;
  for (double spent = 0; !result.evidence.warm && spent < options_.max_seconds; spent += result.warmup.back()) {
    result.warmup.push_back(timed(step));
    result.evidence.warm = is_stable(result.warmup, rule);
  }

  monitor_.begin();
  const size_t fewest = options_.quick ? kQuickSteps : kFewestSteps;
  for (double spent = 0;;) {
    result.steps.push_back(timed(step));
    spent += result.steps.back();
    monitor_.sample();
    if (result.steps.size() >= kQuickSteps && spent >= options_.max_seconds) break;
    if (result.steps.size() < fewest || spent < options_.min_seconds) continue;
    if (options_.quick || spent >= kPatience * options_.min_seconds || is_enough(summarize_steps(result.steps))) break;
  }
  monitor_.end();

  result.kernels = workload.kernels();
  result.fallbacks = fallbacks();
  result.peak_bytes = static_cast<double>(memory_stats(device_).peak);
  result.peak_resident_bytes = static_cast<double>(process_usage().peak_resident_bytes);
  Evidence& evidence = result.evidence;
  evidence.summary = summarize_steps(result.steps);
  evidence.clocks = monitor_.clocks();
  evidence.other_cpu = monitor_.other_cpu();
  evidence.stolen_cpu = monitor_.stolen_cpu();
  evidence.calibration_before = before;
  if (options_.detail) result.parts = workload.timed_parts(options_.quick ? 1 : 5);
}

void CellRunner::measure(CellResult& result) {
  backend(device_).set_tf32(result.cell.work.precision.tf32);
  const WorkloadOptions& work = result.cell.work;
  describe_model(result);
  time_steps(result);
  result.evidence.calibration_after = calibration(result.cell.threads);
  if (!options_.quick) {
    Evidence judged = result.evidence;
    if (device_.type == DeviceType::cuda) judged.other_cpu = judged.stolen_cpu = 0;
    result.doubts = doubts(judged);
  }
  result.watts = monitor_.watts();
  result.celsius = monitor_.celsius();
  if (device_.type != DeviceType::emulated) {
    result.ceilings = ceilings(work.precision);
    const models::ResNet net = models::make_resnet(work.model, {.initialize = false});
    result.floor = step_floor(net, work.batch, work.image_size, work.precision.dtype, work.mode, *result.ceilings);
  }
  if (!options_.data_path.empty())
    result.data = measure_with_data(result.cell, options_.data_path, std::max(options_.min_seconds, 0.1));
}

CellResult CellRunner::run(const BenchCase& cell) {
  CellResult result{.cell = cell};
  const auto failed = [&](ErrorKind kind, const std::string& message) {
    result.error = message;
    result.exit_code = static_cast<int>(kind);
    if (kind == ErrorKind::memory) result.error += advise_batch(cell.work);
  };
  try {
    measure(result);
  } catch (const Error& error) {
    failed(error.kind(), error.what());
  } catch (const std::bad_alloc&) {
    failed(ErrorKind::memory, "the host is out of memory");
  } catch (const std::exception& error) {
    failed(ErrorKind::internal, error.what());
  }
  return result;
}

}  // namespace engine::bench
