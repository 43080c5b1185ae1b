#pragma once
// NVIDIA's management library, opened when it is first asked: clocks, power, temperature, driver.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace engine::bench {

struct GpuState {
  std::optional<double> mhz, watts, celsius;  // of the multiprocessors; of the board
  uint64_t clock_reasons = 0;                 // why the clock is not higher: bits as in bench/statistics.h
};

class Nvml {
 public:
  // Of the GPU with this UUID, with or without "GPU-" before it. Null without driver, library or such a GPU.
  static std::unique_ptr<Nvml> open(const std::string& uuid);
  ~Nvml();

  GpuState state() const;
  std::string driver_version() const;  // empty if it does not say

 private:
  struct Functions;
  explicit Nvml(std::unique_ptr<Functions> functions, void* device);

  std::unique_ptr<Functions> functions_;
  void* device_;
};

}  // namespace engine::bench
