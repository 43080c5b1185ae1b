#include "engine/cuda/allocator.h"

#include <algorithm>
#include <new>

#include "engine/error.h"

namespace engine::cuda {
namespace {

constexpr size_t kAlignment = 256;             // what cudaMalloc gives, and more than any vector load needs
constexpr size_t kPage = size_t{2} << 20;      // the granularity of the driver's own mappings
constexpr size_t kSegment = size_t{32} << 20;  // small blocks share segments of this size
constexpr Allocator::Pool kShared = 0;

size_t round_up(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

Allocator::Allocator(const Context& context, bool own_segments) : context_(context), own_segments_(own_segments) {}

Allocator::~Allocator() {
  for (const auto& [begin, segment] : segments_) (void)context_.runtime().free_device(begin);
}

void* Allocator::allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  const size_t size = own_segments_ ? bytes : round_up(bytes, kAlignment);
  const std::lock_guard lock(mutex_);
  if (size < bytes) fail_out_of_memory(bytes);
  char* block = take(size);
  stats_.in_use += blocks_[block].bytes;
  stats_.peak = std::max(stats_.peak, stats_.in_use);
  return block;
}

char* Allocator::take(size_t bytes) {
  char* block = take_from(pool_, bytes);
  if (block == nullptr && pool_ != kShared) block = take_from(kShared, bytes);
  if (block != nullptr) return block;
  grow(bytes);
  return take_from(kShared, bytes);
}

char* Allocator::take_from(Pool pool, size_t bytes) {
  std::set<FreeKey>& free = free_[pool];
  const auto found = free.lower_bound({bytes, nullptr});
  if (found == free.end()) return nullptr;
  const auto [free_bytes, begin] = *found;
  free.erase(found);
  const bool split = free_bytes > bytes && !own_segments_;
  blocks_[begin] = {split ? bytes : free_bytes, false, pool_};
  if (split) {
    blocks_[begin + bytes] = {free_bytes - bytes, true, pool};
    free.insert({free_bytes - bytes, begin + bytes});
  }
  return begin;
}

void Allocator::grow(size_t bytes) {
  (void)context_.stream();  // switches the thread to the device
  const size_t exact = own_segments_ ? bytes : round_up(bytes, kPage);
  const size_t wanted = own_segments_ ? bytes : std::max(exact, kSegment);
  void* data = nullptr;
  size_t size = wanted;
  Status status = context_.runtime().malloc_device(&data, size);
  if (status.problem == Problem::out_of_memory) {
    trim_locked();
    status = context_.runtime().malloc_device(&data, size = exact);
  }
  if (status.problem == Problem::out_of_memory) fail_out_of_memory(bytes);
  context_.check("allocating memory", status);
  char* begin = static_cast<char*>(data);
  segments_[begin] = size;
  stats_.reserved += size;
  blocks_[begin] = {size, true, kShared};
  free_[kShared].insert({size, begin});
}

void Allocator::fail_out_of_memory(size_t bytes) const {
  size_t free = 0, total = 0;
  (void)context_.runtime().memory_info(&free, &total);
  const size_t others = total > free + stats_.reserved ? total - free - stats_.reserved : 0;
  fail(ErrorKind::memory, context_.device(), ": out of memory: ", bytes >> 20, " MiB requested, ", free >> 20,
       " MiB free of ", total >> 20, " MiB; this process holds ", stats_.reserved >> 20, " MiB (", stats_.in_use >> 20,
       " MiB in use), other processes and the driver ", others >> 20,
       " MiB; use a smaller --batch-size or smaller images");
}

void Allocator::release(void* data) noexcept {
  if (data == nullptr) return;
  const std::lock_guard lock(mutex_);
  char* begin = static_cast<char*>(data);
  const auto block = blocks_.find(begin);
  const size_t bytes = block->second.bytes;
  stats_.in_use -= bytes;
  if (own_segments_ && block->second.pool == kShared) {
    blocks_.erase(block);
    segments_.erase(begin);
    stats_.reserved -= bytes;
    (void)context_.runtime().free_device(begin);
    return;
  }
  block->second.free = true;
  try {
    insert_free(begin);
  } catch (const std::bad_alloc&) {
    // The host has no memory left for the list of free blocks: this one is used again once a neighbour is released.
  }
}

// Neighbours of the same pool merge, but never across segments.
void Allocator::insert_free(char* begin) {
  auto block = blocks_.find(begin);
  const Pool pool = block->second.pool;
  std::set<FreeKey>& free = free_[pool];
  const auto mergeable = [&](const Block& other) { return other.free && other.pool == pool; };
  const auto next = std::next(block);
  if (next != blocks_.end() && mergeable(next->second) && !begins_segment(next->first)) {
    block->second.bytes += next->second.bytes;
    free.erase({next->second.bytes, next->first});
    blocks_.erase(next);
  }
  if (!begins_segment(begin)) {
    const auto previous = std::prev(block);
    if (mergeable(previous->second)) {
      free.erase({previous->second.bytes, previous->first});
      previous->second.bytes += block->second.bytes;
      blocks_.erase(block);
      block = previous;
    }
  }
  free.insert({block->second.bytes, block->first});
}

void Allocator::trim() {
  const std::lock_guard lock(mutex_);
  trim_locked();
}

void Allocator::trim_locked() {
  for (auto segment = segments_.begin(); segment != segments_.end();) {
    const auto [begin, bytes] = *segment;
    const auto block = blocks_.find(begin);
    if (block->second.pool != kShared || !block->second.free || block->second.bytes != bytes) {
      ++segment;
      continue;
    }
    free_[kShared].erase({bytes, begin});
    blocks_.erase(block);
    segment = segments_.erase(segment);
    stats_.reserved -= bytes;
    (void)context_.runtime().free_device(begin);
  }
}

MemoryStats Allocator::stats() const {
  (void)context_.stream();  // switches the thread to the device
  const std::lock_guard lock(mutex_);
  MemoryStats stats = stats_;
  size_t free = 0, total = 0;
  if (context_.runtime().memory_info(&free, &total).ok()) stats.limit = stats.reserved + free;
  return stats;
}

void Allocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak = stats_.in_use;
}

Allocator::Pool Allocator::begin_pool(Pool pool) {
  const std::lock_guard lock(mutex_);
  return pool_ = pool != 0 ? pool : ++last_pool_;
}

void Allocator::end_pool() {
  const std::lock_guard lock(mutex_);
  pool_ = kShared;
}

void Allocator::free_pool(Pool pool) {
  const std::lock_guard lock(mutex_);
  free_.erase(pool);
  std::vector<char*> released;
  for (auto& [begin, block] : blocks_) {
    if (block.pool != pool) continue;
    block.pool = kShared;
    if (block.free) released.push_back(begin);
  }
  // One after the other, so that each finds its free neighbours in the list: those not in it yet count as taken.
  for (char* begin : released) blocks_[begin].free = false;
  for (char* begin : released) {
    blocks_[begin].free = true;
    insert_free(begin);
  }
}

}  // namespace engine::cuda
