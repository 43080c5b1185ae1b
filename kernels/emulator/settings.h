#pragma once
// How the emulator runs kernels: order of threads, completion of asynchronous operations, what a finding does. Set by
// code or, for a whole process, by the environment variables named below.
#include <cstddef>
#include <cstdint>

namespace engine::kernels::emulator {

// Which of the threads that can run goes next: in order, in reverse order (blocks too), or a random one.
enum class Schedule : uint8_t { forward, reverse, random };

// When a copy or product that runs beside the threads completes: as late as allowed (what is read too early is still
// poison), at once (what is overwritten too early is already lost), or at random times.
enum class Async : uint8_t { lazy, eager, random };

struct Settings {
  Schedule schedule = Schedule::forward;  // ENGINE_EMULATOR_SCHEDULE=forward|reverse|random:SEED
  Async async = Async::lazy;              // ENGINE_EMULATOR_ASYNC=lazy|eager|random
  uint64_t seed = 1;
  int workers = 0;                  // ENGINE_EMULATOR_THREADS; OS threads that run blocks, 0: one a core
  bool halt = false;                // ENGINE_EMULATOR_HALT=1: a finding ends the process, for a debugger
  bool quiet = false;               // findings are kept, not printed
  size_t memory = size_t{8} << 30;  // ENGINE_EMULATOR_MEMORY: bytes of device memory
  int64_t lose_after = -1;  // ENGINE_EMULATOR_LOSE_AFTER: kernels and copies until the device is lost, -1: never
};

// Not to be changed while a kernel runs. The race build always runs with one worker.
Settings& settings();

}  // namespace engine::kernels::emulator
