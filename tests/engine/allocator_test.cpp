#include "engine/cpu/allocator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "engine/error.h"

namespace engine::cpu {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(Allocator, AlignsToCacheLines) {
  Allocator allocator(64 * kMiB);
  for (const size_t bytes : {size_t{1}, size_t{63}, size_t{65}, size_t{100'000}}) {
    void* block = allocator.allocate(bytes);
    EXPECT_EQ(reinterpret_cast<size_t>(block) % 64, 0u);
    allocator.release(block, bytes);
  }
}

TEST(Allocator, GivesNothingForNothing) {
  Allocator allocator(kMiB);
  EXPECT_EQ(allocator.allocate(0), nullptr);
  allocator.release(nullptr, 0);
  EXPECT_EQ(allocator.stats().in_use, 0u);
}

TEST(Allocator, BlocksDoNotOverlap) {
  Allocator allocator(256 * kMiB);
  struct Block {
    unsigned char* data;
    size_t bytes;
    unsigned char mark;
  };
  std::vector<Block> blocks;
  std::minstd_rand random(5);
  for (int i = 0; i < 2000; ++i) {
    if (!blocks.empty() && random() % 2 == 0) {
      const size_t at = random() % blocks.size();
      const Block block = blocks[at];
      for (size_t k = 0; k < block.bytes; k += 61) ASSERT_EQ(block.data[k], block.mark);
      allocator.release(block.data, block.bytes);
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      const size_t bytes = 1 + random() % 20'000;
      auto* data = static_cast<unsigned char*>(allocator.allocate(bytes));
      const auto mark = static_cast<unsigned char>(random());
      std::memset(data, mark, bytes);
      blocks.push_back({data, bytes, mark});
    }
  }
  for (const Block& block : blocks) allocator.release(block.data, block.bytes);
  EXPECT_EQ(allocator.stats().in_use, 0u);
}

TEST(Allocator, CountsUseAndPeak) {
  Allocator allocator(64 * kMiB);
  void* a = allocator.allocate(kMiB);
  void* b = allocator.allocate(2 * kMiB);
  allocator.release(a, kMiB);
  EXPECT_EQ(allocator.stats().in_use, 2 * kMiB);
  EXPECT_EQ(allocator.stats().peak, 3 * kMiB);
  allocator.reset_peak();
  EXPECT_EQ(allocator.stats().peak, 2 * kMiB);
  allocator.release(b, 2 * kMiB);
}

#if !defined(__SANITIZE_ADDRESS__)  // there every block comes from the system
TEST(Allocator, RepeatedStepsReserveNothingMore) {
  Allocator allocator(512 * kMiB);
  const auto step = [&] {
    std::vector<std::pair<void*, size_t>> blocks;
    for (size_t i = 1; i < 40; ++i) blocks.emplace_back(allocator.allocate(i * 70'000), i * 70'000);
    for (const auto& [data, bytes] : blocks) allocator.release(data, bytes);
  };
  step();
  const size_t reserved = allocator.stats().reserved;
  for (int i = 0; i < 10; ++i) step();
  EXPECT_EQ(allocator.stats().reserved, reserved);
}

TEST(Allocator, MergesNeighbours) {
  Allocator allocator(64 * kMiB);
  std::vector<void*> blocks;
  for (int i = 0; i < 8; ++i) blocks.push_back(allocator.allocate(kMiB));
  const size_t reserved = allocator.stats().reserved;
  for (const size_t i : {0, 2, 4, 6, 1, 3, 5, 7}) allocator.release(blocks[i], kMiB);
  void* whole = allocator.allocate(8 * kMiB);
  EXPECT_EQ(whole, blocks[0]);
  EXPECT_EQ(allocator.stats().reserved, reserved);
  allocator.release(whole, 8 * kMiB);
}

TEST(Allocator, HoldsBlocksLargerThanASegment) {
  Allocator allocator(size_t{8} << 30);
  const size_t bytes = size_t{3} << 29;
  void* large = allocator.allocate(bytes);  // address space: nothing is touched
  static_cast<char*>(large)[bytes - 1] = 1;
  allocator.release(large, bytes);
  EXPECT_EQ(allocator.stats().in_use, 0u);
}
#endif

TEST(Allocator, RefusesMoreThanTheLimit) {
  Allocator allocator(10 * kMiB);
  void* held = allocator.allocate(4 * kMiB);
  try {
    allocator.allocate(7 * kMiB);
    ADD_FAILURE() << "more than the limit was given";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::memory);
    EXPECT_STREQ(
        e.what(),
        "cpu: 7 MiB more than the 4 MiB in use would exceed the 10 MiB of this machine; use a smaller batch or "
        "smaller images");
  }
  allocator.release(held, 4 * kMiB);
}

TEST(Allocator, ServesSeveralThreads) {
  Allocator allocator(256 * kMiB);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&allocator, t] {
      for (size_t i = 1; i < 500; ++i) {
        auto* block = static_cast<unsigned char*>(allocator.allocate(i * 64));
        std::memset(block, t, i * 64);
        EXPECT_EQ(block[i * 64 - 1], t);
        allocator.release(block, i * 64);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(allocator.stats().in_use, 0u);
}

}  // namespace
}  // namespace engine::cpu
