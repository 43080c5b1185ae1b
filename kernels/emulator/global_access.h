#pragma once
// Reading and writing global memory 16 bytes at a time, and through the read-only path.
#include "kernels/emulator/language.h"
#include "kernels/emulator/thread_view.h"

namespace engine::kernels::emulator {

// The race build looks at accesses of 16 bytes here: the compiler splits them before it inserts its hooks.
extern const bool checks_every_access;
uint4 checked_load16(const void* address, Site site);
void checked_store16(void* address, uint4 value, Site site);

inline bool needs_check16(const void* address) {
  return checks_every_access || reinterpret_cast<uintptr_t>(address) % 16 != 0;
}

}  // namespace engine::kernels::emulator

namespace engine::kernels::gpu {

// Both want 16-byte alignment. Nobody may write during the launch what ldg16 reads.
__forceinline__ uint4 ldg16(const void* address, emulator::Site site = emulator::Site::current()) {
  if (emulator::needs_check16(address)) [[unlikely]]
    return emulator::checked_load16(address, site);
  return *static_cast<const uint4*>(address);
}
__forceinline__ void stg16(void* address, uint4 value, emulator::Site site = emulator::Site::current()) {
  if (emulator::needs_check16(address)) [[unlikely]]
    return emulator::checked_store16(address, value, site);
  *static_cast<uint4*>(address) = value;
}

}  // namespace engine::kernels::gpu

template <class T>
__forceinline__ T __ldg(const T* address) {
  return *address;
}
