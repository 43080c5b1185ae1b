#pragma once
// Private to kernels/emulator.
#include "kernels/emulator/block.h"

namespace engine::kernels::emulator {

// A thread that exits no longer takes part in __syncthreads: the others may be complete now.
void leave_barriers(Thread& thread);

}  // namespace engine::kernels::emulator
