#pragma once
// Private to kernels/emulator.
#include <cstdint>

namespace engine::kernels::emulator::race {

// Counts begin_launch(): what an earlier launch did is past.
extern uint32_t launch_number;

}  // namespace engine::kernels::emulator::race
