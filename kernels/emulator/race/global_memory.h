#pragma once
// Device memory of the race build and its shadow: one address range, so that whether an address belongs to it is one
// subtraction; addresses are never used twice, so that an access to freed memory is noticed. Private to
// kernels/emulator.
#include "kernels/emulator/race/detector.h"

namespace engine::kernels::emulator::race {

// Null if the range is used up.
void* allocate_global(size_t bytes);
void release_global(void* address, size_t bytes);

inline constexpr size_t kGlobalBytes = size_t{16} << 30;  // of addresses; memory is taken as it is touched
extern uintptr_t global_begin;                            // before the first allocation a number that is no address

inline bool in_global_memory(const void* address) {
  return reinterpret_cast<uintptr_t>(address) - global_begin < kGlobalBytes;
}

void global_access(Thread& thread, const char* address, size_t bytes, Access kind, Origin origin);

// Host code between launches. Only bounds are checked; written bytes count as initialised.
void host_write(const void* address, size_t bytes);
void host_read(const void* address, size_t bytes);
void host_copy(const void* to, const void* from, size_t bytes);

}  // namespace engine::kernels::emulator::race
