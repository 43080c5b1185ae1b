#pragma once
// A fixed piece of work that has nothing to do with the engine: when it takes longer, the machine is slower (another
// process, another virtual machine, a lower clock), not the program under test.
namespace engine::bench {

struct Calibration {
  double compute_seconds = 0;  // 2^27 dependent-chain multiply-adds a thread, in registers
  double copy_seconds = 0;     // 16 copies of 32 MiB a thread, larger than a second-level cache
};

// The best of three runs on `threads` threads at once, about 0.2 seconds each.
Calibration calibrate(int threads);

}  // namespace engine::bench
