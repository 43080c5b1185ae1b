#pragma once
// A module whose runtime is the emulator's, but for what a test replaces: a small memory, a missing driver.
#include "kernels/module.h"

namespace engine::testing {

struct FakeModule {
  kernels::Runtime runtime = *kernels::emulated_module().runtime;
  kernels::Module module = kernels::emulated_module();
  FakeModule() { module.runtime = &runtime; }
};

}  // namespace engine::testing
