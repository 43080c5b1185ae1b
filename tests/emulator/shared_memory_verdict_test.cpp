// Races, bounds and initialisation of shared memory. Race build only.
#include "tests/emulator/verdict.h"

namespace engine::testing {
namespace {

// ---- Barriers of the block

template <bool kSync>
__global__ void tree_sum(float* out) {
  GPU_SHARED(float, s, 256);
  const unsigned t = threadIdx.x;
  s[t] = static_cast<float>(t);
  __syncthreads();  // all values are written before any is added
  for (unsigned stride = 128; stride > 0; stride /= 2) {
    if (t < stride) s[t] += s[t + stride];
    if (kSync || stride == 128) __syncthreads();  // this level is complete before the next reads it
  }
  if (t == 0) out[0] = s[0];
}

TEST(SharedMemory, TreeReduction) {
  Device<float> out(1);
  expect_clean([&] { gpu::launch(tree_sum<true>, {.grid = 1, .block = 256}, out.data()); });
  EXPECT_EQ(out.values()[0], 255 * 256 / 2);
}

TEST(SharedMemory, TreeReductionWithoutBarriers) {
  Device<float> out(1);
  expect_finding(Check::race, "", [&] { gpu::launch(tree_sum<false>, {.grid = 1, .block = 256}, out.data()); });
}

template <bool kTwoBuffers>
__global__ void ping_pong(float* out) {
  GPU_SHARED(float, s, 2 * 128);
  const unsigned t = threadIdx.x;
  float sum = 0;
  for (unsigned i = 0; i < 6; ++i) {
    float* buffer = s + (kTwoBuffers ? i % 2 * 128 : 0);
    buffer[t] = static_cast<float>(i + t);
    __syncthreads();  // the buffer is full before it is read; with two, the other one may be filled meanwhile
    sum += buffer[(t + 1) % 128];
  }
  out[t] = sum;
}

TEST(SharedMemory, TwoBuffersWithOneBarrierAStep) {
  Device<float> out(128);
  expect_clean([&] { gpu::launch(ping_pong<true>, {.grid = 1, .block = 128}, out.data()); });
}

TEST(SharedMemory, OneBufferWithOneBarrierAStep) {
  Device<float> out(128);
  expect_finding(Check::race, "", [&] { gpu::launch(ping_pong<false>, {.grid = 1, .block = 128}, out.data()); });
}

enum class Handover { complete, missing, overwritten };

template <Handover kHandover>
__global__ void hand_over(float* out) {  // warp 0 writes for warp 1
  GPU_SHARED(float, s, 32);
  const unsigned t = threadIdx.x;
  if (t < 32) {
    s[t] = static_cast<float>(t);
    if (kHandover != Handover::missing) gpu::bar_arrive<1>(64);
    if (kHandover == Handover::overwritten) s[t] = 0;
  } else {
    if (kHandover != Handover::missing) gpu::bar_sync<1>(64);
    out[t - 32] = s[t - 32];
  }
}

TEST(SharedMemory, NamedBarrier) {
  Device<float> out(32);
  expect_clean([&] { gpu::launch(hand_over<Handover::complete>, {.grid = 1, .block = 64}, out.data()); });
}

TEST(SharedMemory, NamedBarrierLeftOut) {
  Device<float> out(32);
  expect_finding(Check::race, "",
                 [&] { gpu::launch(hand_over<Handover::missing>, {.grid = 1, .block = 64}, out.data()); });
}

TEST(SharedMemory, ProducerGoesOnAfterArriving) {
  Device<float> out(32);
  expect_finding(Check::race, "",
                 [&] { gpu::launch(hand_over<Handover::overwritten>, {.grid = 1, .block = 64}, out.data()); });
}

// A barrier of some threads orders those only.
__global__ void half_barrier(float* out) {
  GPU_SHARED(float, s, 96);
  const unsigned t = threadIdx.x;
  s[t] = 1;
  if (t < 64) gpu::bar_sync<1>(64);
  out[t] = s[(t + 64) % 96];
}

TEST(SharedMemory, NamedBarrierOrdersItsThreadsOnly) {
  Device<float> out(96);
  expect_finding(Check::race, "", [&] { gpu::launch(half_barrier, {.grid = 1, .block = 96}, out.data()); });
}

// ---- Warps

template <bool kSync>
__global__ void exchange_in_warp(float* out) {
  GPU_SHARED(float, s, 64);
  const unsigned t = threadIdx.x;
  s[t] = static_cast<float>(t);
  if (kSync) __syncwarp();
  out[t] = s[t ^ 1];
}

TEST(SharedMemory, WarpExchange) {
  Device<float> out(64);
  expect_clean([&] { gpu::launch(exchange_in_warp<true>, {.grid = 1, .block = 64}, out.data()); });
}

TEST(SharedMemory, WarpExchangeWithoutSyncwarp) {
  Device<float> out(64);
  expect_finding(Check::race, "", [&] { gpu::launch(exchange_in_warp<false>, {.grid = 1, .block = 64}, out.data()); });
}

template <unsigned kPartner>
__global__ void exchange_after_syncwarp(float* out) {
  GPU_SHARED(float, s, 64);
  const unsigned t = threadIdx.x;
  s[t] = static_cast<float>(t);
  __syncwarp();
  out[t] = s[t ^ kPartner];
}

TEST(SharedMemory, SyncwarpOrdersTheWarp) {
  Device<float> out(64);
  expect_clean([&] { gpu::launch(exchange_after_syncwarp<16>, {.grid = 1, .block = 64}, out.data()); });
}

TEST(SharedMemory, SyncwarpDoesNotOrderOtherWarps) {
  Device<float> out(64);
  expect_finding(Check::race, "",
                 [&] { gpu::launch(exchange_after_syncwarp<32>, {.grid = 1, .block = 64}, out.data()); });
}

// A shuffle exchanges registers, it orders no memory.
__global__ void exchange_after_shuffle(float* out) {
  GPU_SHARED(float, s, 32);
  const unsigned t = threadIdx.x;
  s[t] = __shfl_xor_sync(~0u, static_cast<float>(t), 1);
  __shfl_sync(~0u, 1.0f, 0);
  out[t] = s[t ^ 1];
}

TEST(SharedMemory, ShuffleOrdersNoMemory) {
  Device<float> out(32);
  expect_finding(Check::race, "", [&] { gpu::launch(exchange_after_shuffle, {.grid = 1, .block = 32}, out.data()); });
}

// ---- Atomics, and elements smaller than a word

template <bool kAtomic>
__global__ void histogram(int* out) {
  GPU_SHARED(int, count, 16);
  const unsigned t = threadIdx.x;
  if (t < 16) count[t] = 0;
  __syncthreads();  // zeros before counts
  if (kAtomic) {
    atomicAdd(&count[t % 16], 1);
  } else {
    ++count[t % 16];
  }
  __syncthreads();  // counts before results
  if (t < 16) out[t] = count[t];
}

TEST(SharedMemory, Atomics) {
  Device<int> out(16);
  expect_clean([&] { gpu::launch(histogram<true>, {.grid = 1, .block = 256}, out.data()); });
  EXPECT_THAT(out.values(), ::testing::Each(16));
}

TEST(SharedMemory, IncrementWithoutAtomics) {
  Device<int> out(16);
  expect_finding(Check::race, "", [&] { gpu::launch(histogram<false>, {.grid = 1, .block = 256}, out.data()); });
}

// An atomic operation does not order the plain access of another thread.
__global__ void atomic_and_plain(int* out) {
  GPU_SHARED(int, s, 1);
  if (threadIdx.x == 0) s[0] = 0;
  __syncthreads();  // zero before it is added to
  if (threadIdx.x == 0) atomicAdd(s, 1);
  if (threadIdx.x == 32) out[0] = s[0];
}

TEST(SharedMemory, PlainReadBesideAtomic) {
  Device<int> out(1);
  expect_finding(Check::race, "", [&] { gpu::launch(atomic_and_plain, {.grid = 1, .block = 64}, out.data()); });
}

template <class T, bool kWriteAfterRead>
__global__ void mirror(T* out) {
  GPU_SHARED(T, s, 128);
  const unsigned t = threadIdx.x;
  s[t] = static_cast<T>(t);
  __syncthreads();  // all elements are written before any is read
  out[t] = s[127 - t];
  if (kWriteAfterRead) s[t] = 0;
}

TEST(SharedMemory, NeighboursOfTwoBytes) {
  Device<uint16_t> out(128);
  expect_clean([&] { gpu::launch(mirror<uint16_t, false>, {.grid = 1, .block = 128}, out.data()); });
}

TEST(SharedMemory, NeighboursOfOneByte) {
  Device<uint8_t> out(128);
  expect_clean([&] { gpu::launch(mirror<uint8_t, false>, {.grid = 1, .block = 128}, out.data()); });
}

TEST(SharedMemory, WriteAfterReadOfTwoBytes) {
  Device<uint16_t> out(128);
  expect_finding(Check::race, "", [&] { gpu::launch(mirror<uint16_t, true>, {.grid = 1, .block = 128}, out.data()); });
}

// ---- Initialisation and bounds

template <bool kReadMissing>
__global__ void early_exit(float* out) {
  GPU_SHARED(float, s, 64);
  const unsigned t = threadIdx.x;
  if (t >= 32) return;
  s[t] = static_cast<float>(t);
  __syncwarp();
  out[t] = s[31 - t] + (kReadMissing ? s[63] : 0.0f);
}

TEST(SharedMemory, EarlyExitOfAWarp) {
  Device<float> out(64);
  expect_clean([&] { gpu::launch(early_exit<false>, {.grid = 1, .block = 64}, out.data()); });
}

TEST(SharedMemory, ReadOfWhatNobodyWrote) {
  Device<float> out(64);
  expect_finding(Check::uninitialised, "read of shared memory that nobody has written",
                 [&] { gpu::launch(early_exit<true>, {.grid = 1, .block = 64}, out.data()); });
}

// Shared memory of the block before is nobody's.
__global__ void read_second_block(float* out) {
  GPU_SHARED(float, s, 1);
  if (blockIdx.x == 0) s[0] = 1;
  out[blockIdx.x] = s[0];
}

TEST(SharedMemory, BlocksShareNothing) {
  Device<float> out(2);
  expect_finding(Check::uninitialised, "",
                 [&] { gpu::launch(read_second_block, {.grid = 2, .block = 1}, out.data()); });
}

__global__ void write_static(float* out, int i) {
  GPU_SHARED(float, s, 33);
  s[0] = 1;
  s[i] = 1;
  out[0] = s[0];
}

__global__ void write_dynamic(float* out, int i) {
  auto* s = reinterpret_cast<float*>(gpu::dyn_smem());
  s[0] = 1;
  s[i] = 1;
  out[0] = s[0];
}

TEST(SharedMemory, Bounds) {
  Device<float> out(1);
  expect_clean([&] { gpu::launch(write_static, {.grid = 1, .block = 1}, out.data(), 32); });
  expect_finding(Check::bounds, "write to shared memory outside of the block's arrays",
                 [&] { gpu::launch(write_static, {.grid = 1, .block = 1}, out.data(), 33); });
  expect_clean([&] { gpu::launch(write_dynamic, {.grid = 1, .block = 1, .shared_bytes = 100}, out.data(), 24); });
  expect_finding(Check::bounds, "write to shared memory outside of the block's arrays",
                 [&] { gpu::launch(write_dynamic, {.grid = 1, .block = 1, .shared_bytes = 100}, out.data(), 25); });
}

}  // namespace
}  // namespace engine::testing
