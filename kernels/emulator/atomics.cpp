#include "kernels/emulator/atomics.h"

#include "kernels/emulator/block.h"
#include "kernels/emulator/race/detector.h"

namespace engine::kernels::emulator {
namespace {

// Blocks run on several OS threads, so the operations are atomic here as well.
template <class T, class F>
T update(T* address, Site site, F&& f) {
  if constexpr (race::kEnabled) race::access(self(), address, sizeof(T), race::Access::atomic, site);
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(address, &old, f(old), true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
  return old;
}

}  // namespace

int atomic_add(int* address, int value, Site site) {
  return update(address, site,
                [&](int old) { return static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(value)); });
}
unsigned atomic_add(unsigned* address, unsigned value, Site site) {
  return update(address, site, [&](unsigned old) { return old + value; });
}
int atomic_max(int* address, int value, Site site) {
  return update(address, site, [&](int old) { return old > value ? old : value; });
}
unsigned atomic_max(unsigned* address, unsigned value, Site site) {
  return update(address, site, [&](unsigned old) { return old > value ? old : value; });
}
unsigned atomic_exchange(unsigned* address, unsigned value, Site site) {
  return update(address, site, [&](unsigned) { return value; });
}
unsigned atomic_compare_exchange(unsigned* address, unsigned expected, unsigned value, Site site) {
  return update(address, site, [&](unsigned old) { return old == expected ? value : old; });
}

void thread_fence() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if constexpr (race::kEnabled) race::thread_fence(self());
}

}  // namespace engine::kernels::emulator
