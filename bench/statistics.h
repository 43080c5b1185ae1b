#pragma once
// What a series of step times says, and what speaks against believing it. Pure functions of numbers.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace engine::bench {

// Between the values at whole positions it interpolates; 0.5 is the median.
double quantile(std::vector<double> values, double share);

struct Interval {
  double low = 0, high = 0;
};
// Where the median of the population lies with at least 95%: order statistics, no distribution assumed, but steps that
// do not depend on each other. None for fewer than six values.
std::optional<Interval> median_interval(std::vector<double> values);

// When a warm-up is over: the medians of two neighbouring windows of steps are within `tolerance` of each other. A
// window holds at least `min_steps` steps and lasts at least `seconds`, but never needs more than `max_steps`: after
// steps of a second, three of them have to do.
struct StabilityRule {
  double tolerance = 0.02;
  double seconds = 0.25;
  size_t min_steps = 5, max_steps = 500;
  size_t min_long_steps = 3;  // where a step takes over a second
};
bool is_stable(const std::vector<double>& steps, const StabilityRule& rule = {});

struct Summary {
  size_t steps = 0;
  double median = 0, p5 = 0, p95 = 0;
  std::optional<Interval> interval;  // 95%, of the median
  double drift = 0;                  // median of the last third over that of the first, less 1
  double outliers = 0;               // share of steps that took over 1.1 times the median and 5 robust deviations
};
Summary summarize_steps(const std::vector<double>& steps);

// Whether enough has been measured: `min_steps`, a 95% interval within +-`precision` of the median, and no drift that
// would be a doubt.
bool is_enough(const Summary& summary, size_t min_steps = 10, double precision = 0.01);

// What was sampled between the steps. Series are empty where the system does not tell.
struct ClockSeries {
  std::vector<double> mhz;
  int64_t thermal_events = 0;  // by which the counters of the kernel or driver grew
  uint64_t reasons = 0;        // NVML's reasons for a lower clock, all of the series
  bool watched = false;        // the system tells of clocks or of thermal events
};

// NVML's bits that mean the device was held back; an idle clock and one that the user asked for do not.
inline constexpr uint64_t kClockPowerCap = 0x4, kClockHardware = 0x8, kClockThermal = 0x20,
                          kClockHardwareThermal = 0x40, kClockPowerBrake = 0x80;

// Why the device was slower than it can be, for people; empty if nothing says so. A power cap counts only if the clock
// also fell: most GPUs touch it at full load.
std::string throttling(const ClockSeries& clocks);

// What else is known about a measurement.
struct Evidence {
  Summary summary;
  bool warm = true;               // the warm-up became stable
  double other_cpu = 0;           // processor time of everything else, as a share of the machine's
  double stolen_cpu = 0;          // what the hypervisor gave to others, likewise
  double calibration_before = 0;  // seconds of the same fixed work; 0: not done
  double calibration_after = 0;
  ClockSeries clocks;
};

struct Doubt {
  std::string code;      // one of kDoubtCodes
  std::string sentence;  // what, how much, and what to do about it
};
inline constexpr const char* kDoubtCodes[] = {"not_stable", "few_steps",    "wide_interval", "drift",
                                              "outliers",   "machine_busy", "machine_noisy", "throttled"};

// Every reason not to believe a measurement, worst first.
std::vector<Doubt> doubts(const Evidence& evidence);

}  // namespace engine::bench
