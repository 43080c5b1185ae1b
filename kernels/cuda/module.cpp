// The border of libengine_cuda.so: one function. Everything else in it is hidden.
#include "kernels/module.h"

#include "kernels/cuda/runtime.h"

extern "C" __attribute__((visibility("default"))) const engine::kernels::Module* engine_cuda_module() {
  using namespace engine::kernels;
  static const Module module = {.abi = kModuleAbi,
                                .runtime = &cuda::runtime(),
                                .kernels = &kernel_table(),
                                .build = ENGINE_CUDA_BUILD};
  return &module;
}
