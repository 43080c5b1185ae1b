#include "engine/cpu/allocator.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string>

#include "engine/error.h"

namespace engine::cpu {
namespace {

constexpr size_t kAlignment = 64;                  // a cache line and a 512-bit register
constexpr size_t kHugePage = size_t{2} << 20;      // what MADV_HUGEPAGE gives on x86-64 and AArch64
constexpr size_t kSegmentBytes = size_t{1} << 30;  // address space only: pages come when they are first touched

// AddressSanitizer sees an overrun only if every block has its own guard zones.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSystemBlocks = true;
#else
constexpr bool kSystemBlocks = false;
#endif

size_t round_up(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

size_t block_bytes(size_t bytes) {
  return round_up(bytes, kAlignment);
}

}  // namespace

size_t memory_limit() {
  size_t limit = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::string text;
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> text && text != "max")
    limit = std::min<size_t>(limit, std::strtoull(text.c_str(), nullptr, 10));
  return limit;
}

Allocator& allocator() {
  // Never destroyed: tensors in static storage may outlive any order of destruction.
  static Allocator* const instance = new Allocator(memory_limit());
  return *instance;
}

Allocator::Allocator(size_t limit) : limit_(limit) {}

Allocator::~Allocator() {
  for (const Segment& segment : segments_) munmap(segment.begin, segment.bytes);
}

void* Allocator::allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  const size_t size = block_bytes(bytes);
  const std::lock_guard lock(mutex_);
  char* block = nullptr;
  if (size < bytes || stats_.in_use + size > limit_)
    fail(ErrorKind::memory, "cpu: ", bytes >> 20, " MiB more than the ", stats_.in_use >> 20,
         " MiB in use would exceed the ", limit_ >> 20, " MiB of this machine; use a smaller batch or smaller images");
  if (kSystemBlocks) {
    block = static_cast<char*>(std::aligned_alloc(kAlignment, size));
    if (block == nullptr) fail(ErrorKind::memory, "cpu: the system has no ", bytes >> 20, " MiB left");
    stats_.reserved += size;
  } else {
    block = take(size);
  }
  stats_.in_use += size;
  stats_.peak = std::max(stats_.peak, stats_.in_use);
  return block;
}

char* Allocator::take(size_t bytes) {
  auto found = free_by_size_.lower_bound({bytes, nullptr});
  if (found == free_by_size_.end()) {
    grow(bytes);
    found = free_by_size_.lower_bound({bytes, nullptr});
  }
  const auto [free_bytes, begin] = *found;
  free_by_size_.erase(found);
  free_by_address_.erase(begin);
  if (free_bytes > bytes) insert_free(begin + bytes, free_bytes - bytes);
  note_touched(begin + bytes);
  return begin;
}

void Allocator::grow(size_t bytes) {
  const size_t size = std::max(kSegmentBytes, round_up(bytes, kHugePage));
  // One huge page more, so that the segment can begin on a boundary; the rest goes back at once.
  void* mapped =
      mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED)
    fail(ErrorKind::memory, "cpu: the system refuses ", size >> 20, " MiB more, ", stats_.in_use >> 20,
         " MiB are in use; use a smaller batch, or raise the limit on address space (ulimit -v)");
  char* raw = static_cast<char*>(mapped);
  const size_t skip = round_up(reinterpret_cast<size_t>(raw), kHugePage) - reinterpret_cast<size_t>(raw);
  if (skip > 0) munmap(raw, skip);
  if (skip < kHugePage) munmap(raw + skip + size, kHugePage - skip);
  madvise(raw + skip, size, MADV_HUGEPAGE);  // without huge pages it works all the same
  segments_.push_back({raw + skip, size, 0});
  insert_free(raw + skip, size);
}

void Allocator::note_touched(const char* end) {
  for (Segment& segment : segments_) {
    if (end <= segment.begin || end > segment.begin + segment.bytes) continue;
    const size_t touched = std::min(round_up(static_cast<size_t>(end - segment.begin), kHugePage), segment.bytes);
    if (touched > segment.touched) {
      stats_.reserved += touched - segment.touched;
      segment.touched = touched;
    }
    return;
  }
}

// Neighbours merge, but never across segments: a block must not span two mappings.
void Allocator::insert_free(char* begin, size_t bytes) {
  const auto crosses = [&](const char* address) {
    return std::any_of(segments_.begin(), segments_.end(), [&](const Segment& s) { return s.begin == address; });
  };
  auto next = free_by_address_.lower_bound(begin);
  if (next != free_by_address_.end() && begin + bytes == next->first && !crosses(next->first)) {
    bytes += next->second;
    free_by_size_.erase({next->second, next->first});
    next = free_by_address_.erase(next);
  }
  if (next != free_by_address_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == begin && !crosses(begin)) {
      begin = previous->first;
      bytes += previous->second;
      free_by_size_.erase({previous->second, previous->first});
      free_by_address_.erase(previous);
    }
  }
  const auto added = free_by_address_.emplace(begin, bytes).first;
  try {
    free_by_size_.insert({bytes, begin});
  } catch (...) {
    free_by_address_.erase(added);
    throw;
  }
}

void Allocator::release(void* data, size_t bytes) noexcept {
  if (data == nullptr) return;
  const size_t size = block_bytes(bytes);
  const std::lock_guard lock(mutex_);
  stats_.in_use -= size;
  if (kSystemBlocks) {
    std::free(data);
    stats_.reserved -= size;
  } else {
    try {
      insert_free(static_cast<char*>(data), size);
    } catch (const std::bad_alloc&) {
      // The system has no memory left for the list of free blocks: this one is not used again.
    }
  }
}

MemoryStats Allocator::stats() const {
  const std::lock_guard lock(mutex_);
  MemoryStats stats = stats_;
  stats.limit = limit_;
  return stats;
}

void Allocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak = stats_.in_use;
}

}  // namespace engine::cpu
