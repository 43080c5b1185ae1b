#pragma once
// Reading and writing global memory 16 bytes at a time, and through the read-only path.
#include "kernels/emulator/language.h"
#include "kernels/emulator/thread_view.h"

namespace engine::kernels::emulator {

// Ends the block, as it ends a GPU's. Not to return costs callers nothing: what they hold in registers may stay there.
[[noreturn]] void misaligned16(const char* what, Site site);
inline void check_aligned16(const void* address, const char* what, Site site) {
  if (reinterpret_cast<uintptr_t>(address) % 16 != 0) [[unlikely]]
    misaligned16(what, site);
}

// Race build: the compiler splits accesses of 16 bytes, or leaves out what is not used, before it inserts its hooks.
// checked_load16() returns a copy that is valid until the next call.
const uint4* checked_load16(const void* address, Site site);
void checked_store16(void* address, uint4 value, Site site);

}  // namespace engine::kernels::emulator

namespace engine::kernels::gpu {

// Both want 16-byte alignment. Nobody may write during the launch what ldg16 reads.
__forceinline__ uint4 ldg16(const void* address, emulator::Site site = emulator::Site::current()) {
  emulator::check_aligned16(address, "ldg16 from", site);
#ifdef __SANITIZE_THREAD__
  return *emulator::checked_load16(address, site);
#else
  return *static_cast<const uint4*>(address);
#endif
}
__forceinline__ void stg16(void* address, uint4 value, emulator::Site site = emulator::Site::current()) {
  emulator::check_aligned16(address, "stg16 to", site);
#ifdef __SANITIZE_THREAD__
  emulator::checked_store16(address, value, site);
#else
  *static_cast<uint4*>(address) = value;
#endif
}

}  // namespace engine::kernels::gpu

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's names
template <class T>
__forceinline__ T __ldg(const T* address) {
  return *address;
}
// NOLINTEND(bugprone-reserved-identifier)
