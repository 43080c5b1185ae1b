// cp.async. Race build only.
#include "tests/emulator/verdict.h"

namespace engine::testing {
namespace {

enum class Copy { right, no_wait, other_lane, group_short, overwritten };

template <Copy kCopy>
__global__ void copy_own(const float* in, float* out) {
  GPU_SHARED(float, s, 256);
  const unsigned t = threadIdx.x;
  gpu::cp_async16(s + t * 4, in + t * 4);
  gpu::cp_async_commit();
  gpu::cp_async16(s + 128 + t * 4, in + 128 + t * 4);
  gpu::cp_async_commit();
  if (kCopy == Copy::overwritten) s[t * 4] = 0;
  if (kCopy == Copy::group_short) {
    gpu::cp_async_wait<1>();
  } else if (kCopy != Copy::no_wait) {
    gpu::cp_async_wait<0>();
  }
  out[t] = s[(kCopy == Copy::other_lane ? t ^ 1 : t) * 4] + s[128 + t * 4];
}

template <Copy kCopy>
void run_copy() {
  const Device<float> in(256, 1.0f);
  const Device<float> out(32);
  gpu::launch(copy_own<kCopy>, {.grid = 1, .block = 32}, in.data(), out.data());
  if (kCopy == Copy::right) {
    EXPECT_THAT(out.values(), ::testing::Each(2.0f));
  }
}

TEST(CpAsync, OwnData) {
  expect_clean(run_copy<Copy::right>);
}

TEST(CpAsync, NoWait) {
  expect_finding(Check::race, "read of shared memory that an asynchronous copy fills, before it was waited for",
                 run_copy<Copy::no_wait>);
}

TEST(CpAsync, WaitOneGroupShort) {
  expect_finding(Check::race, "read of shared memory that an asynchronous copy fills, before it was waited for",
                 run_copy<Copy::group_short>);
}

TEST(CpAsync, DataOfAnotherThreadWithoutBarrier) {
  expect_finding(Check::race, "", run_copy<Copy::other_lane>);
}

TEST(CpAsync, WriteIntoTheTarget) {
  expect_finding(Check::race, "write to shared memory that an asynchronous copy fills", run_copy<Copy::overwritten>);
}

template <bool kSyncBeforeRefill>
__global__ void ring(const float* in, float* out, int steps) {
  GPU_SHARED(float, s, 128);
  const unsigned t = threadIdx.x;
  float sum = 0;
  for (int i = 0; i < steps; ++i) {
    gpu::cp_async16(s + t * 4, in + t * 4);
    gpu::cp_async_commit();
    gpu::cp_async_wait<0>();
    __syncthreads();  // everybody's copies are there
    sum += s[127 - t];
    if (kSyncBeforeRefill) __syncthreads();  // all have read before the next step overwrites
  }
  out[t] = sum;
}

TEST(CpAsync, RefillAfterBarrier) {
  const Device<float> in(128, 1.0f);
  const Device<float> out(32);
  expect_clean([&] { gpu::launch(ring<true>, {.grid = 1, .block = 32}, in.data(), out.data(), 3); });
}

TEST(CpAsync, RefillWhileOthersMayRead) {
  const Device<float> in(128, 1.0f);
  const Device<float> out(32);
  expect_finding(Check::race, "asynchronous copy over what a thread may still read",
                 [&] { gpu::launch(ring<false>, {.grid = 1, .block = 32}, in.data(), out.data(), 3); });
}

__global__ void copy_twice(const float* in, float* out) {
  GPU_SHARED(float, s, 4);
  gpu::cp_async16(s, in);
  gpu::cp_async16(s, in);
  gpu::cp_async_commit();
  gpu::cp_async_wait<0>();
  out[0] = s[0];
}

TEST(CpAsync, TwoCopiesIntoOnePlace) {
  const Device<float> in(4, 1.0f);
  const Device<float> out(1);
  expect_finding(Check::race, "two asynchronous copies into the same shared memory",
                 [&] { gpu::launch(copy_twice, {.grid = 1, .block = 1}, in.data(), out.data()); });
}

__global__ void copy_from(const float* in, float* out, int offset, bool ok) {
  GPU_SHARED(float, s, 4);
  gpu::cp_async16(s, in + offset, ok);
  gpu::cp_async_commit();
  gpu::cp_async_wait<0>();
  out[0] = s[0];
}

TEST(CpAsync, SourceOutOfBounds) {
  const Device<float> in(4, 1.0f);
  const Device<float> out(1);
  expect_finding(Check::bounds, "read of 16 bytes",
                 [&] { gpu::launch(copy_from, {.grid = 1, .block = 1}, in.data(), out.data(), 4, true); });
}

TEST(CpAsync, SourceThatIsNotCopiedMayBeAnywhere) {
  const Device<float> in(4, 1.0f);
  const Device<float> out(1);
  expect_clean([&] { gpu::launch(copy_from, {.grid = 1, .block = 1}, in.data(), out.data(), 4, false); });
  EXPECT_EQ(out.values()[0], 0);
}

}  // namespace
}  // namespace engine::testing
