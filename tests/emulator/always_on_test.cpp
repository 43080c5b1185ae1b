// Checks that need no race detector: divergence, deadlocks, alignment, and misuse of single operations. Every build.
#include "tests/emulator/verdict.h"

namespace engine::testing {
namespace {

// ---- Warp operations

template <unsigned kMask, int kLanes>
__global__ void sum_of_lanes(float* out) {
  const auto t = static_cast<int>(threadIdx.x);
  auto value = static_cast<float>(t);
  if (t < kLanes) value += __shfl_xor_sync(kMask, value, 8);
  out[t] = value;
}

TEST(Divergence, ShuffleOfTheWholeWarp) {
  Device<float> out(32);
  expect_clean([&] { gpu::launch(sum_of_lanes<~0u, 32>, {.grid = 1, .block = 32}, out.data()); });
}

TEST(Divergence, ShuffleOfHalfAWarp) {
  Device<float> out(32);
  expect_clean([&] { gpu::launch(sum_of_lanes<0xffffu, 16>, {.grid = 1, .block = 16}, out.data()); });
}

TEST(Divergence, ShuffleThatNamesAbsentLanes) {
  Device<float> out(32);
  expect_finding(Check::divergence, "__shfl_sync",
                 [&] { gpu::launch(sum_of_lanes<~0u, 16>, {.grid = 1, .block = 32}, out.data()); });
}

__global__ void shuffle_outside_mask(float* out) {
  const auto t = static_cast<int>(threadIdx.x);
  float value = 0;
  if (t < 16) value = __shfl_sync(0xffffu, static_cast<float>(t), 20);
  out[t] = value;
}

TEST(Divergence, ShuffleFromALaneOutsideTheMask) {
  Device<float> out(32);
  expect_finding(Check::divergence, "__shfl_sync reads lane 20, which is not in the mask 0000ffff",
                 [&] { gpu::launch(shuffle_outside_mask, {.grid = 1, .block = 32}, out.data()); });
}

__global__ void foreign_mask(unsigned* out) {
  if (threadIdx.x == 5) out[0] = __ballot_sync(0x3u, 1);
}

TEST(Divergence, CallerOutsideItsMask) {
  Device<unsigned> out(1);
  expect_finding(Check::divergence, "__ballot_sync is called by lane 5, which is not in its mask",
                 [&] { gpu::launch(foreign_mask, {.grid = 1, .block = 32}, out.data()); });
}

__global__ void two_operations(unsigned* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __ballot_sync(~0u, 1);
  } else {
    __syncwarp();
  }
}

TEST(Divergence, LanesInDifferentOperations) {
  Device<unsigned> out(32);
  expect_finding(Check::divergence, "lanes of a warp meet in",
                 [&] { gpu::launch(two_operations, {.grid = 1, .block = 32}, out.data()); });
}

// ---- Barriers

__global__ void two_barriers(float* out) {
  if (threadIdx.x < 32) {
    __syncthreads();  // one half of the block here
  } else {
    __syncthreads();  // the other one there
  }
  out[threadIdx.x] = 1;
}

TEST(Divergence, TwoBarriers) {
  Device<float> out(64);
  expect_finding(Check::divergence, "threads of a block are in different __syncthreads",
                 [&] { gpu::launch(two_barriers, {.grid = 1, .block = 64}, out.data()); });
}

template <int kCount>
__global__ void named_barrier_counts(float* out) {
  gpu::bar_sync<3>(threadIdx.x < 32 ? 64 : kCount);
  out[threadIdx.x] = 1;
}

TEST(Divergence, NamedBarrierWithTwoCounts) {
  Device<float> out(96);
  expect_clean([&] { gpu::launch(named_barrier_counts<64>, {.grid = 1, .block = 64}, out.data()); });
  expect_finding(Check::divergence, "threads, others expect",
                 [&] { gpu::launch(named_barrier_counts<96>, {.grid = 1, .block = 96}, out.data()); });
}

TEST(Divergence, NamedBarrierOfPartOfAWarp) {
  Device<float> out(64);
  expect_finding(Check::misuse, "which is not a multiple of a warp",
                 [&] { gpu::launch(named_barrier_counts<48>, {.grid = 1, .block = 48}, out.data()); });
}

// ---- Deadlocks

constexpr int kFirstWait = __LINE__ + 3;
__global__ void different_named_barriers(float* out) {
  if (threadIdx.x < 32) {
    gpu::bar_sync<1>(64);
  } else {
    gpu::bar_sync<2>(64);
  }
  out[threadIdx.x] = 1;
}

TEST(Deadlock, NamesEveryPlaceWhereThreadsWait) {
  Device<float> out(64);
  const WithPolicy with({emulator::Schedule::forward, emulator::Async::lazy});
  EXPECT_FALSE(gpu::launch(different_named_barriers, {.grid = 1, .block = 64}, out.data()));
  const std::string file = "tests/emulator/always_on_test.cpp:";
  EXPECT_THAT(
      findings_text(),
      ::testing::HasSubstr("deadlock: none of the 64 live threads of block (0,0,0) can run: thread 0 and 31 more "
                           "wait in bar.sync at " +
                           file + std::to_string(kFirstWait) + ", thread 32 and 31 more wait in bar.sync at " + file +
                           std::to_string(kFirstWait + 2)));
  EXPECT_THAT(emulator::runtime().last_error().text, ::testing::HasSubstr("a kernel could not run to its end"));
  EXPECT_TRUE(emulator::runtime().last_error().ok());
}

TEST(Deadlock, NextLaunchRuns) {
  Device<float> out(64);
  const WithPolicy with({emulator::Schedule::forward, emulator::Async::lazy});
  EXPECT_FALSE(gpu::launch(different_named_barriers, {.grid = 3, .block = 64}, out.data()));
  EXPECT_TRUE(gpu::launch(sum_of_lanes<~0u, 32>, {.grid = 1, .block = 32}, out.data()));
  EXPECT_EQ(out.values()[0], 8);
}

// ---- Alignment and addresses

__global__ void copy_misaligned(const float* in, float* out) {
  GPU_SHARED(float, s, 8);
  gpu::cp_async16(s + 1, in);
  gpu::cp_async_commit();
  gpu::cp_async_wait<0>();
  out[0] = s[1];
}

TEST(Alignment, CpAsync) {
  const Device<float> in(8, 1.0f), out(1);
  expect_finding(Check::alignment, "cp.async of 16 bytes from or to an address that is not a multiple of it",
                 [&] { gpu::launch(copy_misaligned, {.grid = 1, .block = 1}, in.data(), out.data()); });
}

__global__ void load_misaligned(uint32_t* out) {
  GPU_SHARED(uint32_t, s, 160);
  for (unsigned i = threadIdx.x; i < 160; i += 32) s[i] = i;
  __syncthreads();  // all is written before it is loaded
  uint32_t r[4];
  gpu::ldmatrix_x4(r, s + threadIdx.x * 4 + 2);
  out[threadIdx.x] = r[0];
}

TEST(Alignment, Ldmatrix) {
  Device<uint32_t> out(32);
  expect_finding(Check::alignment, "a row of ldmatrix is not aligned to 16 bytes",
                 [&] { gpu::launch(load_misaligned, {.grid = 1, .block = 32}, out.data()); });
}

__global__ void load16(float* data) {
  gpu::stg16(data, gpu::ldg16(data + 1));
}
__global__ void store16(float* data) {
  gpu::stg16(data + 1, gpu::ldg16(data));
}

TEST(Alignment, SixteenBytesOfGlobalMemory) {
  Device<float> data(8, 1.0f);
  expect_finding(Check::alignment, "ldg16 from an address that is not a multiple of 16",
                 [&] { EXPECT_FALSE(gpu::launch(load16, {.grid = 1, .block = 1}, data.data())); });
  expect_finding(Check::alignment, "stg16 to an address that is not a multiple of 16",
                 [&] { EXPECT_FALSE(gpu::launch(store16, {.grid = 1, .block = 1}, data.data())); });
}

__global__ void global_as_shared(const float* in, float* out) {
  out[0] = static_cast<float>(gpu::smem_u32(in));
}

TEST(Bounds, GlobalAddressWhereSharedIsMeant) {
  const Device<float> in(1, 1.0f), out(1);
  expect_finding(Check::bounds, "an address that should lie in shared memory does not",
                 [&] { gpu::launch(global_as_shared, {.grid = 1, .block = 1}, in.data(), out.data()); });
}

TEST(Bounds, HostAddressAsArgument) {
  float on_host = 0;
  const Device<float> in(1, 1.0f);
  expect_finding(Check::bounds, "argument 2 of a kernel is an address that is no memory of the device",
                 [&] { gpu::launch(global_as_shared, {.grid = 1, .block = 1}, in.data(), &on_host); });
}

// ---- Findings

TEST(Findings, AreCountedAndKeptOnceAPlace) {
  const WithPolicy with({emulator::Schedule::forward, emulator::Async::lazy});
  const Device<float> in(8, 1.0f), out(1);
  for (int i = 0; i < 3; ++i) gpu::launch(copy_misaligned, {.grid = 1, .block = 1}, in.data(), out.data());
  ASSERT_EQ(emulator::findings().size(), 1u) << findings_text();
  EXPECT_EQ(emulator::findings()[0].count, 3);
  EXPECT_EQ(emulator::finding_count(), 3);
  emulator::clear_findings();
  EXPECT_EQ(emulator::finding_count(), 0);
  EXPECT_THAT(emulator::findings(), ::testing::IsEmpty());
}

}  // namespace
}  // namespace engine::testing
