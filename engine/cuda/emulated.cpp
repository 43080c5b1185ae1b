// The same backend on kernels that were compiled as C++ and run on the emulator: slow, and the same code path as a
// GPU's.
#include "engine/cuda/backend.h"

namespace engine {
namespace {

// The emulator is compiled for processors with AVX2, FMA and F16C (x86-64-v3) where there are such.
bool processor_can_emulate() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return true;
#endif
}

}  // namespace

Backend* emulated_backend(std::string* reason) {
  if (!processor_can_emulate()) {
    if (reason != nullptr) *reason = "this processor has no AVX2, which the emulator is compiled for; use --device cpu";
    return nullptr;
  }
  // Never destroyed: tensors in static storage may outlive any order of destruction.
  static Backend* const instance = new cuda::CudaBackend(kernels::emulated_module(), {DeviceType::emulated});
  return instance;
}

}  // namespace engine
