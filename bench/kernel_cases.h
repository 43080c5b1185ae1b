#pragma once
// What kernel_bench times: the launches of a ResNet's training step, one by one, on operands of their own.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/net_convolutions.h"
#include "kernels/module.h"

namespace engine::bench {

// Memory of a module's device that frees itself. Holds random numbers around zero: zeros would draw less power, and so
// run faster, than the numbers of a training.
class DeviceMemory {
 public:
  DeviceMemory(const kernels::Runtime& runtime, size_t bytes, kernels::DataType type, kernels::Stream stream);
  ~DeviceMemory() { runtime_.free_device(data_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  template <class T = void>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  const kernels::Runtime& runtime_;
  void* data_ = nullptr;
};

struct KernelCase {
  std::string kernel;  // the launcher's name
  std::string shape;
  kernels::Cost cost;
  std::function<bool()> launch;
  std::vector<std::unique_ptr<DeviceMemory>> memory;
};

// Makes each case when it is asked for: all together would not fit into a device.
using MakeCase = std::function<KernelCase()>;
struct KernelCasesOptions {
  kernels::DataType type = kernels::DataType::bf16;
  int64_t parameters = 0;  // of the net, for the optimiser
  int64_t classes = 1000;
};
std::vector<MakeCase> kernel_cases(const kernels::Module& module, const std::vector<NetConvolution>& convolutions,
                                   const KernelCasesOptions& options, kernels::Stream stream);

// The kernels besides convolutions, the passes of batch normalisation and SGD, on the net's largest, first and last
// maps. A part of kernel_cases().
std::vector<MakeCase> other_kernel_cases(const kernels::Module& module, const std::vector<NetConvolution>& convolutions,
                                         const KernelCasesOptions& options, kernels::Stream stream);

}  // namespace engine::bench
