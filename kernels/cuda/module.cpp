// The border of libengine_cuda.so: one function. Everything else in it is hidden.
#include "kernels/module.h"

#include "kernels/cuda/libraries.h"
#include "kernels/cuda/runtime.h"

namespace engine::kernels {

extern "C" __attribute__((visibility("default"))) const Module* engine_cuda_module() {
  static const Module module = {.abi = kModuleAbi,
                                .runtime = &cuda::runtime(),
                                .kernels = &kernel_table(),
                                .libraries = &cuda::libraries(),
                                .build = ENGINE_CUDA_BUILD};
  return &module;
}

}  // namespace engine::kernels
