#pragma once
// One cell of resnet-bench's grid, measured: warm-up until it is stable, then steps until the median is known.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/bench_case.h"
#include "bench/ceilings.h"
#include "bench/data_rate.h"
#include "bench/device_monitor.h"
#include "bench/roofline.h"
#include "bench/statistics.h"

namespace engine::bench {

struct CellOptions {
  double min_seconds = 3, max_seconds = 120;  // of measuring; the second of the warm-up, too
  bool quick = false;                         // not judged
  bool detail = false;
  std::string data_path;  // empty: none
};

struct CellResult {
  BenchCase cell;
  std::string error;  // empty: measured
  int exit_code = 0;  // of a program that ends because of it

  // Of the model, for one image.
  double parameters = 0, macs = 0, activations = 0;

  double first_step_seconds = 0;  // implementations are chosen, memory is taken
  std::vector<double> warmup, steps;
  Evidence evidence;
  std::vector<Doubt> doubts;
  std::optional<double> watts, celsius;
  double peak_bytes = 0, peak_resident_bytes = 0;  // of tensors and scratch on the device; of the process
  std::optional<int64_t> kernels;                  // that a step launches
  std::map<std::string, int64_t> fallbacks;

  std::optional<Ceilings> ceilings;  // not of the emulated device
  std::optional<StepFloor> floor;
  std::optional<StepParts> parts;
  std::optional<DataRate> data;
};

// Measures cells one after the other. Ceilings are measured once for each precision.
class CellRunner {
 public:
  CellRunner(Device device, const CellOptions& options);

  // Throws nothing that is the cell's own fault: see CellResult::error.
  CellResult run(const BenchCase& cell);

  // From now on the device computes in that precision.
  const Ceilings& ceilings(Precision precision);
  const DeviceMonitor& monitor() const { return monitor_; }

 private:
  void measure(CellResult& result);
  void time_steps(CellResult& result);
  double calibration(int threads);

  Device device_;
  CellOptions options_;
  DeviceMonitor monitor_;
  std::map<Precision, Ceilings> ceilings_;
  double last_calibration_ = 0;
};

}  // namespace engine::bench
