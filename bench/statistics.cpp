#include "bench/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace engine::bench {
namespace {

constexpr size_t kFewSteps = 10;
constexpr double kWideInterval = 0.05;  // half its width over the median
constexpr double kDrift = 0.05;
constexpr double kOutliers = 0.25;  // moves the median to the 0.5 / (1 - 0.25) = 0.67 quantile of the others
constexpr double kBusy = 0.1;       // share of the machine
constexpr double kNoisy = 0.1;      // of a calibration
constexpr double kClockFall = 0.05;

double median(std::vector<double> values) {
  return quantile(std::move(values), 0.5);
}

// last third over first third - 1; 0 if there are no thirds.
double drift(const std::vector<double>& series) {
  const auto third = static_cast<std::ptrdiff_t>(series.size() / 3);
  if (third == 0) return 0;
  return median({series.end() - third, series.end()}) / median({series.begin(), series.begin() + third}) - 1;
}

// The fewest of the newest steps that make a window that ends at `end`; 0 if there are not enough.
size_t window(const std::vector<double>& steps, size_t end, const StabilityRule& rule) {
  const size_t fewest = end > 0 && steps[end - 1] > 1 ? rule.min_long_steps : rule.min_steps;
  double seconds = 0;
  for (size_t count = 1; count <= end; ++count) {
    seconds += steps[end - count];
    if (count >= fewest && (seconds >= rule.seconds || count >= rule.max_steps)) return count;
  }
  return 0;
}

template <class... Numbers>
std::string text(const char* format, Numbers... numbers) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, format, numbers...);
  return buffer;
}

}  // namespace

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double position = share * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(position);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (position - static_cast<double>(low)) * (values[high] - values[low]);
}

std::optional<Interval> median_interval(std::vector<double> values) {
  // Each value is below the median with probability 1/2. The interval from the k-th smallest to the k-th largest misses
  // it if fewer than k are below or fewer than k above: 2 P(B < k), B binomial(n, 1/2).
  const auto n = static_cast<double>(values.size());
  const auto probability = [&](double below) {
    return std::exp(std::lgamma(n + 1) - std::lgamma(below + 1) - std::lgamma(n - below + 1) - n * std::log(2.0));
  };
  size_t k = 0;
  for (double tail = 0; k < values.size() / 2; ++k) {
    tail += probability(static_cast<double>(k));
    if (2 * tail > 0.05) break;
  }
  if (k == 0) return std::nullopt;
  std::sort(values.begin(), values.end());
  return Interval{values[k - 1], values[values.size() - k]};
}

bool is_stable(const std::vector<double>& steps, const StabilityRule& rule) {
  const size_t last = window(steps, steps.size(), rule);
  const size_t before = last == 0 ? 0 : window(steps, steps.size() - last, rule);
  if (before == 0) return false;
  const auto end = steps.end() - static_cast<std::ptrdiff_t>(last);
  const double now = median({end, steps.end()}), then = median({end - static_cast<std::ptrdiff_t>(before), end});
  return std::abs(now - then) <= rule.tolerance * then;
}

Summary summarize_steps(const std::vector<double>& steps) {
  Summary summary;
  summary.steps = steps.size();
  if (steps.empty()) return summary;
  summary.median = median(steps);
  summary.p5 = quantile(steps, 0.05);
  summary.p95 = quantile(steps, 0.95);
  summary.interval = median_interval(steps);
  summary.drift = drift(steps);
  std::vector<double> deviations;
  for (const double step : steps) deviations.push_back(std::abs(step - summary.median));
  // 1.4826 times the median deviation estimates the standard deviation of a normal distribution.
  const double limit = std::max(1.1 * summary.median, summary.median + 5 * 1.4826 * median(deviations));
  const auto count = std::count_if(steps.begin(), steps.end(), [&](double step) { return step > limit; });
  summary.outliers = static_cast<double>(count) / static_cast<double>(steps.size());
  return summary;
}

bool is_enough(const Summary& summary, size_t min_steps, double precision) {
  return summary.steps >= min_steps && summary.interval && std::abs(summary.drift) <= kDrift &&
         summary.interval->high - summary.interval->low <= 2 * precision * summary.median;
}

std::string throttling(const ClockSeries& clocks) {
  const double fall = -drift(clocks.mhz);
  if (clocks.thermal_events > 0)
    return "the kernel counted " + std::to_string(clocks.thermal_events) + " thermal events";
  if (clocks.reasons & (kClockThermal | kClockHardwareThermal)) return "the driver lowered the clock for heat";
  if (clocks.reasons & kClockPowerBrake) return "the power supply lowered the clock";
  if (clocks.reasons & kClockHardware) return "the hardware lowered the clock";
  if (fall > kClockFall) {
    return text("the clock fell by %.0f%%%s", 100 * fall,
                clocks.reasons & kClockPowerCap ? " at the limit of power" : "");
  }
  return {};
}

std::vector<Doubt> doubts(const Evidence& evidence) {
  const Summary& s = evidence.summary;
  std::vector<Doubt> found;
  const auto add = [&](const char* code, std::string sentence) { found.push_back({code, std::move(sentence)}); };
  if (const std::string reason = throttling(evidence.clocks); !reason.empty())
    add("throttled", reason + ": cool the machine or raise its limit, and measure again");
  if (!evidence.warm) add("not_stable", "the step time did not become stable in the warm-up: raise --max-seconds");
  if (s.steps < kFewSteps) {
    add("few_steps", text("only %zu steps were measured, %zu are needed: raise --max-seconds or use a smaller batch",
                          s.steps, kFewSteps));
  }
  if (s.interval && s.interval->high - s.interval->low > 2 * kWideInterval * s.median) {
    add("wide_interval", text("the median is known to +-%.1f%% only: raise --max-seconds or quieten the machine",
                              50 * (s.interval->high - s.interval->low) / s.median));
  }
  if (std::abs(s.drift) > kDrift)
    add("drift",
        text("the step time drifted by %+.1f%% from the first to the last third: measure for longer", 100 * s.drift));
  if (s.outliers > kOutliers)
    add("outliers",
        text("%.0f%% of the steps took far longer than the median: something interrupts them", 100 * s.outliers));
  if (evidence.other_cpu + evidence.stolen_cpu > kBusy) {
    add("machine_busy", text("others used %.0f%% of the processors, and a hypervisor took %.0f%%: stop them",
                             100 * evidence.other_cpu, 100 * evidence.stolen_cpu));
  }
  if (evidence.calibration_before > 0 && evidence.calibration_after > 0) {
    const double change = evidence.calibration_after / evidence.calibration_before - 1;
    if (std::abs(change) > kNoisy) {
      add("machine_noisy",
          text("the same fixed work took %+.0f%% time after the steps than before: the machine changes", 100 * change));
    }
  }
  return found;
}

}  // namespace engine::bench
