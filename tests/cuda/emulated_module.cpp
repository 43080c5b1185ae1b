// The emulator as a libengine_cuda.so: what the engine does for CUDA devices only runs without one.
#include "kernels/module.h"

extern "C" __attribute__((visibility("default"))) const engine::kernels::Module* engine_cuda_module() {
  return &engine::kernels::emulated_module();
}
