#pragma once
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>

#include "engine/dtype.h"

namespace engine {

enum class DeviceType : uint8_t { cpu, cuda, emulated };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};

std::string to_string(Device device);  // "cpu", "cuda:0", "emulated"
std::ostream& operator<<(std::ostream& out, Device device);

// True if this build and this machine can run on `device`; otherwise `reason`, if given, says in one sentence why not.
bool available(Device device, std::string* reason = nullptr);

// CUDA if built and present, else the CPU.
Device best_device();
// The type of activations to train with there: bf16 where the device multiplies it faster than f32, else f32. Throws
// Error(device) if the device is not available.
DType best_dtype(Device device);

// Bytes handed out by a device's caching allocator.
struct MemoryStats {
  size_t in_use = 0;    // held by tensors and scratch now
  size_t peak = 0;      // the most that was in use since the start or the last reset_peak_memory()
  size_t reserved = 0;  // held from the system
  size_t limit = 0;     // what may be in use at most: held, or free in the system
};
MemoryStats memory_stats(Device device);
void reset_peak_memory(Device device);

// Threads of the CPU backend's operations. Results are bit-equal from run to run at a fixed number.
int num_threads();
void set_num_threads(int count);

}  // namespace engine
