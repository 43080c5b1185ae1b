#pragma once
// Private to kernels/emulator.
#include "kernels/emulator/block.h"

namespace engine::kernels::emulator {

// Poisons the block's shared memory and gives it `dynamic_bytes`; static arrays follow as they are first used.
void begin_shared_memory(Block& block, size_t dynamic_bytes);

}  // namespace engine::kernels::emulator
