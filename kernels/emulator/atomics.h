#pragma once
// Atomic operations on int and unsigned, and the fence that publishes writes to other blocks. There are none on float:
// their sums would depend on the order of the blocks.
#include "kernels/emulator/thread_view.h"

namespace engine::kernels::emulator {

int atomic_add(int* address, int value, Site site);
unsigned atomic_add(unsigned* address, unsigned value, Site site);
int atomic_max(int* address, int value, Site site);
unsigned atomic_max(unsigned* address, unsigned value, Site site);
unsigned atomic_exchange(unsigned* address, unsigned value, Site site);
unsigned atomic_compare_exchange(unsigned* address, unsigned expected, unsigned value, Site site);
void thread_fence();

}  // namespace engine::kernels::emulator

inline int atomicAdd(int* address, int value,
                     engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  return engine::kernels::emulator::atomic_add(address, value, site);
}
inline unsigned atomicAdd(unsigned* address, unsigned value,
                          engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  return engine::kernels::emulator::atomic_add(address, value, site);
}
inline int atomicMax(int* address, int value,
                     engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  return engine::kernels::emulator::atomic_max(address, value, site);
}
inline unsigned atomicMax(unsigned* address, unsigned value,
                          engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  return engine::kernels::emulator::atomic_max(address, value, site);
}
inline unsigned atomicExch(unsigned* address, unsigned value,
                           engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  return engine::kernels::emulator::atomic_exchange(address, value, site);
}
inline unsigned atomicCAS(unsigned* address, unsigned expected, unsigned value,
                          engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  return engine::kernels::emulator::atomic_compare_exchange(address, expected, value, site);
}
// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's names
inline void __threadfence() {
  engine::kernels::emulator::thread_fence();
}
// NOLINTEND(bugprone-reserved-identifier)
