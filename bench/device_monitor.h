#pragma once
// The state of the machine while something is measured: clocks, power, temperature, who else computes. What a system
// does not tell is empty, never a guess.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/nvml.h"
#include "bench/statistics.h"
#include "engine/device.h"

namespace engine::bench {

// Of all processors since the start of the system, in seconds.
struct ProcessorTime {
  double busy = 0, stolen = 0, all = 0;
};
// Of the first line of `proc`/stat; zeros if it cannot be read.
ProcessorTime processor_time(const std::filesystem::path& proc = "/proc");

struct ProcessorState {
  std::optional<double> mhz;       // mean over the processors
  std::optional<double> celsius;   // of the hottest zone
  std::optional<int64_t> thermal;  // events of throttling since the start of the system
};
ProcessorState processor_state(const std::filesystem::path& sys = "/sys");

class DeviceMonitor {
 public:
  explicit DeviceMonitor(Device device);

  void begin();   // forgets what was sampled
  void sample();  // at most every 0.2 s something happens; to be called between steps
  void end();

  // Between begin() and end():
  const ClockSeries& clocks() const { return clocks_; }
  std::optional<double> watts() const;               // mean
  std::optional<double> celsius() const;             // highest
  double other_cpu() const { return other_cpu_; }    // processor time of everything but this process, as a share of the
  double stolen_cpu() const { return stolen_cpu_; }  // machine's; and what the hypervisor took

  std::optional<std::string> driver_version() const;

 private:
  Device device_;
  std::unique_ptr<Nvml> nvml_;
  ClockSeries clocks_;
  std::vector<double> watts_, celsius_;
  std::optional<int64_t> thermal_;
  ProcessorTime machine_;
  double own_cpu_ = 0, last_sample_ = 0;
  double other_cpu_ = 0, stolen_cpu_ = 0;
};

}  // namespace engine::bench
