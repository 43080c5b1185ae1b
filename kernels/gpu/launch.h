#pragma once
// Part of kernels/gpu/ptx.h: how host code starts a kernel.
#include <cuda_runtime.h>

#include <cstddef>

#include "kernels/types.h"

namespace engine::kernels::gpu {

// A program may contain device code for both: what both bodies call the same must not be the same to the linker.
inline namespace nvcc {

struct LaunchConfig {
  dim3 grid, block;
  size_t shared_bytes = 0;
  Stream stream = nullptr;
};

// Converts the arguments to the kernel's parameter types and enqueues it; may be captured into a graph. False: not
// launched, cudaGetLastError() tells why. Errors of the running kernel appear at the next synchronisation.
template <class... Parameters, class... Arguments>
bool launch(void (*kernel)(Parameters...), const LaunchConfig& config, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument for each parameter of the kernel");
  const auto start = [&](Parameters... values) {
    const void* function = reinterpret_cast<const void*>(kernel);
    constexpr size_t kWithoutAsking = 48 * 1024;
    if (config.shared_bytes > kWithoutAsking &&
        cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(config.shared_bytes)) != cudaSuccess)
      return false;
    void* pointers[] = {&values..., nullptr};
    return cudaLaunchKernel(function, config.grid, config.block, pointers, config.shared_bytes, config.stream) ==
           cudaSuccess;
  };
  return start(static_cast<Parameters>(arguments)...);
}

// Compute capability of the current device, 10 * major + minor; 0 without a device.
inline int compute_capability() {
  int device = 0, major = 0, minor = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess)
    return 0;
  return 10 * major + minor;
}

}  // namespace nvcc
}  // namespace engine::kernels::gpu
