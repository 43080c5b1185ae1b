#include "kernels/emulator/cp_async.h"

#include <cstring>

#include "kernels/emulator/block.h"
#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/scheduler.h"
#include "kernels/emulator/settings.h"
#include "kernels/emulator/shared_memory.h"
#include "kernels/emulator/statistics.h"

namespace engine::kernels::emulator {
namespace {

template <size_t kBytes>
void perform(const AsyncCopy& copy) {
  if (copy.copy) {
    std::memcpy(copy.shared, copy.global, kBytes);
  } else {
    std::memset(copy.shared, 0, kBytes);
  }
}

// Of a size that the compiler knows, so that it needs no call.
void perform(const AsyncCopy& copy) {
  switch (copy.bytes) {
    case 16:
      return perform<16>(copy);
    case 8:
      return perform<8>(copy);
    default:
      return perform<4>(copy);
  }
}

void poison(char* shared, unsigned bytes) {
  if (bytes == 16) {
    std::memset(shared, 0xff, 16);
  } else {
    std::memset(shared, 0xff, bytes);
  }
}

}  // namespace

void copy_async(void* shared, const void* global, unsigned bytes, bool copy, Site site) {
  Thread& t = self();
  ++local_statistics().async_copies;
  const uint32_t offset = shared_offset(shared, site);
  if (((offset | (copy ? reinterpret_cast<uintptr_t>(global) : 0)) & (bytes - 1)) != 0)
    report(Check::alignment, site, "cp.async of %u bytes from or to an address that is not a multiple of it", bytes);
  if constexpr (race::kEnabled) {
    if (copy) race::access(t, global, bytes, race::Access::read, site);
    race::async_write_begin(t, offset, bytes, site);
  }
  AsyncCopy operation{static_cast<char*>(shared), static_cast<const char*>(global), bytes, copy, false, site};
  const Async policy = settings().async;
  operation.done = policy == Async::eager || (policy == Async::random && schedule_random()() % 2 == 0);
  if (operation.done) {
    perform(operation);
  } else {
    poison(operation.shared, bytes);
  }
  t.copies->copies.push_back(operation);
}

void copy_commit() {
  CopyQueue& queue = *self().copies;
  queue.group_ends.push_back(queue.copies.size());
}

void copy_wait(int pending_groups, Site) {
  Thread& t = self();
  CopyQueue& queue = *t.copies;
  if (queue.group_ends.size() <= static_cast<size_t>(pending_groups)) return;
  const size_t groups = queue.group_ends.size() - static_cast<size_t>(pending_groups);
  const size_t end = queue.group_ends[groups - 1];
  for (size_t i = 0; i < end; ++i) {
    const AsyncCopy& copy = queue.copies[i];
    if (!copy.done) perform(copy);
    if constexpr (race::kEnabled) {
      const auto offset = static_cast<unsigned>(copy.shared - t.block().shared);
      race::async_write_end(t.block(), offset, copy.bytes, race::now(t), false, copy.site);
    }
  }
  queue.copies.erase(queue.copies.begin(), queue.copies.begin() + static_cast<ptrdiff_t>(end));
  queue.group_ends.erase(queue.group_ends.begin(), queue.group_ends.begin() + static_cast<ptrdiff_t>(groups));
  for (size_t& group_end : queue.group_ends) group_end -= end;
}

}  // namespace engine::kernels::emulator
