#pragma once
// Barriers of a block: __syncthreads and the named barriers 1 to 15.
#include "kernels/emulator/thread_view.h"

namespace engine::kernels::emulator {

void barrier_sync_all(Site site);
void barrier_sync(int id, int num_threads, Site site);
void barrier_arrive(int id, int num_threads, Site site);

}  // namespace engine::kernels::emulator

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's names
inline void __syncthreads(engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  engine::kernels::emulator::barrier_sync_all(site);
}
// NOLINTEND(bugprone-reserved-identifier)

namespace engine::kernels::gpu {

// bar.sync: waits until `num_threads` threads (whole warps) have come to barrier ID, those of bar_arrive included.
template <int ID>
void bar_sync(int num_threads, emulator::Site site = emulator::Site::current()) {
  static_assert(ID > 0 && ID < 16, "barrier 0 is __syncthreads; there are 16");
  emulator::barrier_sync(ID, num_threads, site);
}

// bar.arrive: counts at the barrier and goes on.
template <int ID>
void bar_arrive(int num_threads, emulator::Site site = emulator::Site::current()) {
  static_assert(ID > 0 && ID < 16, "barrier 0 is __syncthreads; there are 16");
  emulator::barrier_arrive(ID, num_threads, site);
}

}  // namespace engine::kernels::gpu
