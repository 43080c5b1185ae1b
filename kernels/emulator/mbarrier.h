#pragma once
// mbarriers of sm_90: barriers in shared memory that count threads and bytes.
#include "kernels/emulator/thread_view.h"

namespace engine::kernels::emulator {

void mbarrier_init(uint64_t* barrier, int count, Site site);
void mbarrier_arrive(uint64_t* barrier, uint32_t expected_bytes, Site site);
void mbarrier_wait(uint64_t* barrier, uint32_t parity, Site site);
void fence_mbarrier_init();
void fence_async_proxy();

}  // namespace engine::kernels::emulator

namespace engine::kernels::gpu {

// A phase ends when `count` threads have arrived and all expected bytes have come.
inline void mbar_init(uint64_t* barrier, int count, emulator::Site site = emulator::Site::current()) {
  emulator::mbarrier_init(barrier, count, site);
}

// Shows initialised mbarriers to TMA.
inline void fence_mbar_init() {
  emulator::fence_mbarrier_init();
}

inline void mbar_arrive(uint64_t* barrier, emulator::Site site = emulator::Site::current()) {
  emulator::mbarrier_arrive(barrier, 0, site);
}
inline void mbar_arrive_expect_tx(uint64_t* barrier, uint32_t bytes, emulator::Site site = emulator::Site::current()) {
  emulator::mbarrier_arrive(barrier, bytes, site);
}

// Waits until the phase of this parity (0, 1, 0, ... from the first) has ended.
inline void mbar_wait(uint64_t* barrier, uint32_t parity, emulator::Site site = emulator::Site::current()) {
  emulator::mbarrier_wait(barrier, parity, site);
}

// Shows the calling thread's plain writes of shared memory to TMA and wgmma.
inline void fence_proxy_async() {
  emulator::fence_async_proxy();
}

}  // namespace engine::kernels::gpu
