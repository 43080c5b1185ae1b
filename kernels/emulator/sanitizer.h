#pragma once
// What AddressSanitizer has to be told of fibers and of shared memory; nothing without it. Private to kernels/emulator.
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace engine::kernels::emulator::sanitizer {

#if defined(__SANITIZE_ADDRESS__)

inline constexpr bool kEnabled = true;

inline void poison(const void* address, size_t bytes) {
  __asan_poison_memory_region(address, bytes);
}
inline void unpoison(const void* address, size_t bytes) {
  __asan_unpoison_memory_region(address, bytes);
}
// Around each switch of stacks. `fake` keeps the fake stack of the fiber that leaves; null: it never comes back.
inline void before_switch(void** fake, const void* bottom, size_t bytes) {
  __sanitizer_start_switch_fiber(fake, bottom, bytes);
}
inline void after_switch(void* fake, const void** old_bottom, size_t* old_bytes) {
  __sanitizer_finish_switch_fiber(fake, old_bottom, old_bytes);
}

#else

inline constexpr bool kEnabled = false;

inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
inline void before_switch(void**, const void*, size_t) {}
inline void after_switch(void*, const void**, size_t*) {}

#endif

}  // namespace engine::kernels::emulator::sanitizer
