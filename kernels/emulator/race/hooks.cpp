// What g++ -fsanitize=thread makes instrumented code call at each access. ThreadSanitizer's own library would define
// these names; here they lead to the detector.
#include <algorithm>
#include <cstring>

#include "kernels/emulator/block.h"
#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/race/global_memory.h"
#include "kernels/emulator/report.h"

namespace engine::kernels::emulator::race {
namespace {

void check_registers(Thread& thread, const char* address, size_t bytes, Access kind, Origin origin) {
  for (const auto& [begin, length] : thread.clock->guarded) {
    if (address + bytes <= begin || address >= begin + length) continue;
    report(Check::race, origin, "%s of registers that wgmma still uses, before its group was waited for",
           kind == Access::read ? "read" : "write");
    thread.clock->guarded.clear();
    return;
  }
}

[[gnu::noinline]] void access_by_host(const void* address, size_t bytes, Access kind) {
  if (kind != Access::read && in_global_memory(address)) host_write(address, bytes);
}

// Most accesses are to the thread's own stack: they shall get through quickly.
[[gnu::always_inline]] inline bool dispatch(Thread& thread, const char* address, size_t bytes, Access kind,
                                            auto&& origin) {
  const auto offset = static_cast<size_t>(address - thread.block().shared);
  if (offset < kSharedWindow) {
    shared_access(thread, static_cast<unsigned>(offset), static_cast<unsigned>(bytes), kind, origin());
  } else if (in_global_memory(address)) {
    global_access(thread, address, bytes, kind, origin());
  } else {
    if (!thread.clock->guarded.empty()) check_registers(thread, address, bytes, kind, origin());
    return false;
  }
  return true;
}

[[gnu::always_inline]] inline void hook(const void* address, size_t bytes, Access kind, const void* return_address) {
  if (current == nullptr) return access_by_host(address, bytes, kind);
  dispatch(self(), static_cast<const char*>(address), bytes, kind, [=] { return Origin::from_code(return_address); });
}

// Instructions of a GPU access aligned addresses only.
[[gnu::always_inline]] inline void aligned_hook(const void* address, size_t bytes, Access kind,
                                                const void* return_address) {
  if (current == nullptr) return access_by_host(address, bytes, kind);
  const bool device_memory = dispatch(self(), static_cast<const char*>(address), bytes, kind,
                                      [=] { return Origin::from_code(return_address); });
  // Of 16 bytes the compiler promises 8 only.
  if (device_memory && reinterpret_cast<uintptr_t>(address) % std::min<size_t>(bytes, 8) != 0)
    report(Check::alignment, Origin::from_code(return_address),
           "%s of %zu bytes at an address that is not a multiple of it", kind == Access::read ? "read" : "write",
           bytes);
}

}  // namespace

void access(Thread& thread, const void* address, size_t bytes, Access kind, Origin origin) {
  dispatch(thread, static_cast<const char*>(address), bytes, kind, [=] { return origin; });
}

void guard(Thread& thread, const void* registers, size_t bytes) {
  thread.clock->guarded.emplace_back(static_cast<const char*>(registers), bytes);
}

void unguard(Thread& thread, const void* registers) {
  auto& guarded = thread.clock->guarded;
  const auto found =
      std::find_if(guarded.begin(), guarded.end(), [&](const auto& range) { return range.first == registers; });
  if (found != guarded.end()) guarded.erase(found);
}

}  // namespace engine::kernels::emulator::race

namespace race = engine::kernels::emulator::race;
using race::Access;

// NOLINTBEGIN(bugprone-macro-parentheses, bugprone-reserved-identifier)
extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}

#define ENGINE_ALIGNED_HOOKS(bytes)                                                 \
  void __tsan_read##bytes(void* address) {                                          \
    race::aligned_hook(address, bytes, Access::read, __builtin_return_address(0));  \
  }                                                                                 \
  void __tsan_write##bytes(void* address) {                                         \
    race::aligned_hook(address, bytes, Access::write, __builtin_return_address(0)); \
  }                                                                                 \
  void __tsan_volatile_read##bytes(void* address) {                                 \
    race::aligned_hook(address, bytes, Access::read, __builtin_return_address(0));  \
  }                                                                                 \
  void __tsan_volatile_write##bytes(void* address) {                                \
    race::aligned_hook(address, bytes, Access::write, __builtin_return_address(0)); \
  }
ENGINE_ALIGNED_HOOKS(1)
ENGINE_ALIGNED_HOOKS(2)
ENGINE_ALIGNED_HOOKS(4)
ENGINE_ALIGNED_HOOKS(8)
ENGINE_ALIGNED_HOOKS(16)

#define ENGINE_UNALIGNED_HOOKS(bytes)                                       \
  void __tsan_unaligned_read##bytes(void* address) {                        \
    race::hook(address, bytes, Access::read, __builtin_return_address(0));  \
  }                                                                         \
  void __tsan_unaligned_write##bytes(void* address) {                       \
    race::hook(address, bytes, Access::write, __builtin_return_address(0)); \
  }
ENGINE_UNALIGNED_HOOKS(2)
ENGINE_UNALIGNED_HOOKS(4)
ENGINE_UNALIGNED_HOOKS(8)
ENGINE_UNALIGNED_HOOKS(16)

void __tsan_read_range(void* address, size_t bytes) {
  race::hook(address, bytes, Access::read, __builtin_return_address(0));
}
void __tsan_write_range(void* address, size_t bytes) {
  race::hook(address, bytes, Access::write, __builtin_return_address(0));
}

void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
  race::hook(from, bytes, Access::read, __builtin_return_address(0));
  race::hook(to, bytes, Access::write, __builtin_return_address(0));
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, size_t bytes) {
  race::hook(from, bytes, Access::read, __builtin_return_address(0));
  race::hook(to, bytes, Access::write, __builtin_return_address(0));
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes) {
  race::hook(to, bytes, Access::write, __builtin_return_address(0));
  return std::memset(to, value, bytes);
}

// Atomics of host code in the same files (device code has its own, in atomics.h): just done.
#define ENGINE_ATOMICS(bits, T)                                                                    \
  T __tsan_atomic##bits##_load(const volatile T* a, int) {                                         \
    return __atomic_load_n(a, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                                \
  void __tsan_atomic##bits##_store(volatile T* a, T v, int) {                                      \
    __atomic_store_n(a, v, __ATOMIC_SEQ_CST);                                                      \
  }                                                                                                \
  T __tsan_atomic##bits##_exchange(volatile T* a, T v, int) {                                      \
    return __atomic_exchange_n(a, v, __ATOMIC_SEQ_CST);                                            \
  }                                                                                                \
  T __tsan_atomic##bits##_fetch_add(volatile T* a, T v, int) {                                     \
    return __atomic_fetch_add(a, v, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  T __tsan_atomic##bits##_fetch_sub(volatile T* a, T v, int) {                                     \
    return __atomic_fetch_sub(a, v, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  T __tsan_atomic##bits##_fetch_and(volatile T* a, T v, int) {                                     \
    return __atomic_fetch_and(a, v, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  T __tsan_atomic##bits##_fetch_or(volatile T* a, T v, int) {                                      \
    return __atomic_fetch_or(a, v, __ATOMIC_SEQ_CST);                                              \
  }                                                                                                \
  T __tsan_atomic##bits##_fetch_xor(volatile T* a, T v, int) {                                     \
    return __atomic_fetch_xor(a, v, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* a, T* expected, T v, int, int) {   \
    return __atomic_compare_exchange_n(a, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                                \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* a, T* expected, T v, int, int) {     \
    return __atomic_compare_exchange_n(a, expected, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
  }
ENGINE_ATOMICS(8, uint8_t)
ENGINE_ATOMICS(16, uint16_t)
ENGINE_ATOMICS(32, uint32_t)
ENGINE_ATOMICS(64, uint64_t)

void __tsan_atomic_thread_fence(int) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
void __tsan_atomic_signal_fence(int) {}

}  // extern "C"
// NOLINTEND(bugprone-macro-parentheses, bugprone-reserved-identifier)
