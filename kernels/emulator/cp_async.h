#pragma once
// cp.async: copies of 4, 8 or 16 bytes from global to shared memory that run beside the thread until it waits for their
// group.
#include "kernels/emulator/thread_view.h"

namespace engine::kernels::emulator {

void copy_async(void* shared, const void* global, unsigned bytes, bool copy, Site site);
void copy_commit();
void copy_wait(int pending_groups, Site site);

}  // namespace engine::kernels::emulator

namespace engine::kernels::gpu {

// Copies that many aligned bytes, or fills with zeros if not `ok`; `global` is then not read.
inline void cp_async4(void* shared, const void* global, bool ok = true,
                      emulator::Site site = emulator::Site::current()) {
  emulator::copy_async(shared, global, 4, ok, site);
}
inline void cp_async8(void* shared, const void* global, bool ok = true,
                      emulator::Site site = emulator::Site::current()) {
  emulator::copy_async(shared, global, 8, ok, site);
}
inline void cp_async16(void* shared, const void* global, bool ok = true,
                       emulator::Site site = emulator::Site::current()) {
  emulator::copy_async(shared, global, 16, ok, site);
}

// The thread's copies since the last commit become one group.
inline void cp_async_commit() {
  emulator::copy_commit();
}

// Waits until at most N of the thread's groups are unfinished. Other threads see the data after the next barrier.
template <int N>
void cp_async_wait(emulator::Site site = emulator::Site::current()) {
  emulator::copy_wait(N, site);
}

}  // namespace engine::kernels::gpu
