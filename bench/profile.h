#pragma once
// The time of every operation of a real step, in place: the step runs as it always does, with a clock around each entry
// of the backend's table. What is not an operation (the tape, the allocator, the host) is a time of its own.
#include <string>
#include <vector>

#include "bench/profiling_backend.h"
#include "bench/step_workload.h"

namespace engine::bench {

struct ProfiledCall {
  OpCall call;
  double seconds = 0;          // the median over the steps
  std::string implementation;  // of a convolution, that the device chose
};

struct StepProfile {
  std::vector<ProfiledCall> calls;  // of one step, in order
  double step_seconds = 0;          // the median of steps without the clock; on a GPU as one graph
  double profiled_seconds = 0;      // the median of those with it
  double outside_seconds = 0;       // between the operations of the profiled steps, the median
  int steps = 0;

  double calls_seconds() const;
  // How far the operations' sum is from the step without the clock: -0.01 is one percent less.
  double difference() const { return calls_seconds() / step_seconds - 1; }
  bool consistent() const;  // within kAgreement
};
inline constexpr double kAgreement = 0.05;

// What the measurements of several steps say. `profiled` are steps of the same calls.
StepProfile summarize(const std::vector<OpCall>& calls, const std::vector<TimedStep>& profiled,
                      const std::vector<double>& plain_seconds);

struct ProfileOptions {
  WorkloadOptions work;
  double warmup_limit = 60;  // seconds: see warm_up()
  double seconds = 5;        // of measuring, but at least kFewestSteps steps of each kind
};
inline constexpr int kFewestSteps = 5;

// On the CPU steps with and without the clock take turns. On a GPU those with it come first, launched one by one; a
// filler keeps the device busy until the host is ahead, so that its times are the device's and not the host's.
StepProfile profile_step(const ProfileOptions& options);

}  // namespace engine::bench
