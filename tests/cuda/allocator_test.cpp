// The caching allocator on a device of 100 MiB.
#include "engine/cuda/allocator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/error.h"
#include "tests/cuda/fake_module.h"

namespace engine::cuda {
namespace {

using ::testing::HasSubstr;

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kTotal = 100 * kMiB;

// What the device has handed out: address -> bytes.
std::map<void*, size_t> segments;

size_t held() {
  size_t bytes = 0;
  for (const auto& [data, size] : segments) bytes += size;
  return bytes;
}

kernels::Status small_malloc(void** out, size_t bytes) {
  *out = nullptr;
  if (held() + bytes > kTotal) return {Problem::out_of_memory, 2, "out of memory"};
  *out = std::aligned_alloc(256, bytes);
  segments[*out] = bytes;
  return {};
}
kernels::Status small_free(void* data) {
  EXPECT_EQ(segments.erase(data), 1u);
  std::free(data);
  return {};
}
kernels::Status small_info(size_t* free, size_t* total) {
  *free = kTotal - held();
  *total = kTotal;
  return {};
}

class CudaAllocator : public ::testing::Test {
 protected:
  CudaAllocator() {
    fake.runtime.malloc_device = small_malloc;
    fake.runtime.free_device = small_free;
    fake.runtime.memory_info = small_info;
    context = std::make_unique<Context>(fake.module, Device{DeviceType::cuda, 0});
    allocator = std::make_unique<Allocator>(*context, /*own_segments=*/false);
  }
  ~CudaAllocator() override {
    allocator.reset();
    EXPECT_TRUE(segments.empty());
  }
  MemoryStats stats() const { return allocator->stats(); }

  engine::testing::FakeModule fake;
  std::unique_ptr<Context> context;
  std::unique_ptr<Allocator> allocator;
};

TEST_F(CudaAllocator, NothingIsNull) {
  EXPECT_EQ(allocator->allocate(0), nullptr);
  allocator->release(nullptr);
  EXPECT_EQ(stats().reserved, 0u);
}

TEST_F(CudaAllocator, SmallBlocksShareASegment) {
  std::vector<void*> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(allocator->allocate(1000));
  EXPECT_EQ(segments.size(), 1u);
  EXPECT_EQ(stats().in_use, 100 * 1024u);
  for (const void* block : blocks) EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 256, 0u);
  for (void* block : blocks) allocator->release(block);
  EXPECT_EQ(stats().in_use, 0u);
  EXPECT_EQ(stats().peak, 100 * 1024u);
  EXPECT_EQ(stats().reserved, held());
}

TEST_F(CudaAllocator, AReleasedBlockComesAgain) {
  void* const first = allocator->allocate(5 * kMiB);
  allocator->release(first);
  void* const second = allocator->allocate(5 * kMiB);
  EXPECT_EQ(first, second);
  allocator->release(second);
}

TEST_F(CudaAllocator, BlocksAreSplitAndMerged) {
  void* const whole = allocator->allocate(30 * kMiB);
  const size_t reserved = stats().reserved;
  allocator->release(whole);
  std::vector<void*> parts;
  for (int i = 0; i < 15; ++i) parts.push_back(allocator->allocate(2 * kMiB));
  EXPECT_EQ(stats().reserved, reserved) << "they fit into the released block";
  // In an order in which each meets a free neighbour before, behind, on both sides, or none.
  for (const size_t i : {0, 2, 1, 14, 13, 7, 5, 6, 4, 3, 9, 8, 10, 12, 11}) allocator->release(parts[i]);
  void* const again = allocator->allocate(30 * kMiB);
  EXPECT_EQ(stats().reserved, reserved) << "the parts became one block again";
  allocator->release(again);
}

TEST_F(CudaAllocator, NeighboursInDifferentSegmentsStayApart) {
  void* const a = allocator->allocate(40 * kMiB);
  void* const b = allocator->allocate(40 * kMiB);
  allocator->release(a);
  allocator->release(b);
  EXPECT_EQ(segments.size(), 2u);
  void* const large = allocator->allocate(60 * kMiB);  // needs a segment of its own, so the two go back
  EXPECT_EQ(segments.size(), 1u);
  allocator->release(large);
}

TEST_F(CudaAllocator, PeakIsSinceTheLastReset) {
  void* const large = allocator->allocate(8 * kMiB);
  allocator->release(large);
  EXPECT_EQ(stats().peak, 8 * kMiB);
  allocator->reset_peak();
  EXPECT_EQ(stats().peak, 0u);
  void* const small = allocator->allocate(2 * kMiB);
  EXPECT_EQ(stats().peak, 2 * kMiB);
  allocator->release(small);
}

TEST_F(CudaAllocator, TrimGivesBackWhatIsUnused) {
  void* const kept = allocator->allocate(10 * kMiB);
  void* const other = allocator->allocate(40 * kMiB);
  allocator->release(other);
  allocator->trim();
  EXPECT_EQ(segments.size(), 1u);
  EXPECT_EQ(stats().reserved, held());
  allocator->release(kept);
  allocator->trim();
  EXPECT_EQ(stats().reserved, 0u);
}

TEST_F(CudaAllocator, OutOfMemoryTellsWhoHasIt) {
  void* const half = allocator->allocate(50 * kMiB);
  try {
    allocator->allocate(60 * kMiB);
    ADD_FAILURE() << "60 of 100 MiB were handed out beside 50";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::memory);
    EXPECT_STREQ(
        error.what(),
        "cuda:0: out of memory: 60 MiB requested, 50 MiB free of 100 MiB; this process holds 50 MiB (50 MiB in "
        "use), other processes and the driver 0 MiB; use a smaller --batch-size or smaller images");
  }
  // The failure leaves everything as it was.
  void* const rest = allocator->allocate(40 * kMiB);
  EXPECT_NE(rest, nullptr);
  allocator->release(rest);
  allocator->release(half);
}

TEST_F(CudaAllocator, AnImpossibleSizeIsOutOfMemoryToo) {
  EXPECT_THROW(allocator->allocate(SIZE_MAX - 3), Error);
}

TEST_F(CudaAllocator, APoolKeepsItsAddressesFromOthers) {
  void* const before = allocator->allocate(kMiB);
  const Allocator::Pool pool = allocator->begin_pool();
  void* const inside = allocator->allocate(kMiB);
  allocator->release(inside);
  EXPECT_EQ(allocator->allocate(kMiB), inside) << "released inside, used again inside";
  allocator->release(inside);
  allocator->release(before);  // goes back to everybody
  allocator->end_pool();
  void* const outside = allocator->allocate(kMiB);
  EXPECT_EQ(outside, before);
  EXPECT_NE(outside, inside);
  allocator->release(outside);
  allocator->trim();
  EXPECT_EQ(segments.size(), 1u) << "the pool's memory stays";
  allocator->free_pool(pool);
  allocator->trim();
  EXPECT_EQ(segments.size(), 0u) << "everything merged again";
}

// Near the limit a pool may not starve because memory that is free lies with everybody, nor the other way round.
TEST_F(CudaAllocator, APoolTakesOnlyWhatItNeeds) {
  void* const parameters = allocator->allocate(kMiB);
  const Allocator::Pool pool = allocator->begin_pool();
  std::vector<void*> inside;
  for (int i = 0; i < 8; ++i) inside.push_back(allocator->allocate(3 * kMiB));
  for (void* block : inside) allocator->release(block);
  EXPECT_EQ(segments.size(), 1u);
  allocator->end_pool();
  void* const outside = allocator->allocate(7 * kMiB);
  EXPECT_EQ(segments.size(), 1u);
  allocator->free_pool(pool);
  void* const merged = allocator->allocate(24 * kMiB);
  EXPECT_EQ(segments.size(), 1u);
  for (void* block : {parameters, outside, merged}) allocator->release(block);
}

TEST_F(CudaAllocator, APoolCanBeOpenedAgain) {
  const Allocator::Pool pool = allocator->begin_pool();
  void* const first = allocator->allocate(3 * kMiB);
  allocator->release(first);
  allocator->end_pool();
  allocator->begin_pool(pool);
  EXPECT_EQ(allocator->allocate(3 * kMiB), first);
  allocator->release(first);
  allocator->end_pool();
  allocator->free_pool(pool);
}

}  // namespace
}  // namespace engine::cuda
