#pragma once
#include "kernels/runtime.h"

namespace engine::kernels::emulator {

// The emulated device as a runtime. Everything is done when a function returns; only graphs are replayed later.
const Runtime& runtime();

}  // namespace engine::kernels::emulator
