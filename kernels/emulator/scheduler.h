#pragma once
// Runs the threads of a block as fibers on one OS thread. Private to kernels/emulator.
#include <random>

#include "kernels/emulator/block.h"
#include "kernels/emulator/settings.h"

namespace engine::kernels::emulator {

// The current thread waits here until somebody calls wake() for it. What the caller owns on its stack must not need a
// destructor: a block that deadlocks is left without unwinding.
void sleep(const char* what, Site site, unsigned argument = 0);

// Lets a sleeping thread run again; the schedule decides when.
void wake(Thread& thread);
// The same for the lanes of a warp.
void wake(unsigned lanes, Thread* const* threads);

// After an error that leaves nothing to go on with: ends the block and the launch.
[[noreturn]] void abandon_block();

// Of the running block.
Schedule schedule();
// Random numbers of the schedule.
std::mt19937_64& schedule_random();

}  // namespace engine::kernels::emulator
