#pragma once
#include "kernels/runtime.h"

namespace engine::kernels::emulator {

// The runtime table of the emulated device (kernels/emulator/runtime.cpp).
const Runtime& runtime();

}  // namespace engine::kernels::emulator
