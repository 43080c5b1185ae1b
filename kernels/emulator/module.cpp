#include "kernels/module.h"

#include "kernels/emulator/runtime.h"

namespace engine::kernels {

const Module& emulated_module() {
  static const Module module = {
      .runtime = &emulator::runtime(), .kernels = &kernel_table(), .build = "g++ " __VERSION__};
  return module;
}

}  // namespace engine::kernels
