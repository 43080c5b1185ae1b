#pragma once
// Switching between stacks. Private to kernels/emulator.
#include <cstddef>

namespace engine::kernels::emulator {

// Saves the running fiber's registers on its stack and their address in `*save`, then goes on with fiber `to`.
void switch_fiber(void** save, void* to);

// A fiber that will run `entry`, which never returns, on the stack [low, low + bytes).
void* new_fiber(char* low, size_t bytes, void (*entry)());

}  // namespace engine::kernels::emulator
