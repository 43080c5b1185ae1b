// Races, bounds and initialisation of device memory. Race build only.
#include "tests/emulator/verdict.h"

namespace engine::testing {
namespace {

// ---- Races between threads and between blocks

template <unsigned kStride>
__global__ void write_rows(float* out) {
  out[blockIdx.x * kStride + threadIdx.x] = static_cast<float>(threadIdx.x);
}

TEST(GlobalMemory, BlocksWriteTheirOwn) {
  Device<float> out(8 * 32);
  expect_clean([&] { gpu::launch(write_rows<32>, {.grid = 8, .block = 32}, out.data()); });
}

TEST(GlobalMemory, BlocksOverlapByOneElement) {
  Device<float> out(8 * 32);
  expect_finding(Check::race, "write of global memory that nothing orders with a write",
                 [&] { gpu::launch(write_rows<31>, {.grid = 8, .block = 32}, out.data()); });
}

template <bool kSync>
__global__ void exchange(float* out, float* scratch) {
  scratch[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (kSync) __syncthreads();  // all are written before any is read
  out[threadIdx.x] = scratch[threadIdx.x ^ 33];
}

TEST(GlobalMemory, ThreadsOfABlockExchange) {
  Device<float> out(64), scratch(64);
  expect_clean([&] { gpu::launch(exchange<true>, {.grid = 1, .block = 64}, out.data(), scratch.data()); });
}

TEST(GlobalMemory, ThreadsOfABlockExchangeWithoutBarrier) {
  Device<float> out(64), scratch(64);
  expect_finding(Check::race, "",
                 [&] { gpu::launch(exchange<false>, {.grid = 1, .block = 64}, out.data(), scratch.data()); });
}

// The writer has read as well: of two readers that are remembered, one is of another block.
__global__ void read_all_write_one(float* data, float* out) {
  const float value = data[0];
  out[blockIdx.x] = value;
  if (blockIdx.x == gridDim.x - 1) data[0] = value + 1;
}

TEST(GlobalMemory, WriteWhatOtherBlocksRead) {
  const Device<float> data(1, 1.0f), out(3);
  const WithPolicy with({emulator::Schedule::forward, emulator::Async::lazy});
  gpu::launch(read_all_write_one, {.grid = 3, .block = 1}, data.data(), out.data());
  EXPECT_THAT(findings_text(), ::testing::HasSubstr("write of global memory that nothing orders with a read"));
}

template <bool kAtomic>
__global__ void count(int* counter) {
  if (kAtomic) {
    atomicAdd(counter, 1);
  } else {
    *counter += 1;
  }
}

TEST(GlobalMemory, Counter) {
  Device<int> counter(1, 0);
  expect_clean([&] { gpu::launch(count<true>, {.grid = 4, .block = 64}, counter.data()); });
  EXPECT_EQ(counter.values()[0], 4 * 64 * static_cast<int>(all_policies().size()));
  expect_finding(Check::race, "", [&] { gpu::launch(count<false>, {.grid = 4, .block = 1}, counter.data()); });
}

// ---- The last block adds up what all have written

enum class Ticket { right, no_ticket, no_fence, no_barrier };

template <Ticket kTicket>
__global__ void last_block_sums(float* parts, unsigned* ticket, float* out) {
  GPU_SHARED(int, last, 1);
  const unsigned t = threadIdx.x;
  if (t == 0) {
    parts[blockIdx.x] = static_cast<float>(blockIdx.x);
    if (kTicket != Ticket::no_fence) __threadfence();
    const unsigned number = kTicket == Ticket::no_ticket ? blockIdx.x : atomicAdd(ticket, 1u);
    last[0] = number % gridDim.x == gridDim.x - 1;
  }
  if (kTicket != Ticket::no_barrier) __syncthreads();  // all threads learn whether this block is the last
  const bool am_last = kTicket == Ticket::no_barrier ? blockIdx.x == gridDim.x - 1 : last[0] != 0;
  if (!am_last) return;
  float sum = 0;
  for (unsigned i = t; i < gridDim.x; i += blockDim.x) sum += parts[i];
  out[t] = sum;
}

template <Ticket kTicket>
void run_last_block() {
  Device<float> parts(16), out(64);
  Device<unsigned> ticket(1, 0u);
  gpu::launch(last_block_sums<kTicket>, {.grid = 16, .block = 64}, parts.data(), ticket.data(), out.data());
}

TEST(GlobalMemory, LastBlockByTicket) {
  expect_clean(run_last_block<Ticket::right>);
}

TEST(GlobalMemory, LastBlockWithoutTicket) {
  const WithPolicy with({emulator::Schedule::forward, emulator::Async::lazy});
  run_last_block<Ticket::no_ticket>();
  EXPECT_THAT(findings_text(), ::testing::HasSubstr("read of global memory that nothing orders with a write"));
}

TEST(GlobalMemory, LastBlockWithoutFence) {
  expect_finding(Check::race, "", run_last_block<Ticket::no_fence>);
}

TEST(GlobalMemory, LastBlockWithoutBarrierAfterTheTicket) {
  const WithPolicy with({emulator::Schedule::forward, emulator::Async::lazy});
  run_last_block<Ticket::no_barrier>();
  EXPECT_THAT(findings_text(), ::testing::HasSubstr("read of global memory that nothing orders with a write"));
}

TEST(GlobalMemory, OneLaunchFollowsAnother) {
  Device<float> out(64);
  expect_clean([&] {
    gpu::launch(write_rows<0>, {.grid = 1, .block = 64}, out.data());
    gpu::launch(write_rows<0>, {.grid = 1, .block = 64}, out.data());
  });
}

// ---- Bounds

__global__ void write_at(float* out, int i) {
  out[i] = 1;
}
__global__ void read_at(float* out, const float* in, int i) {
  out[0] = in[i];
}
__global__ void read16_at(float* out, const float* in, int i) {
  out[0] = __uint_as_float(gpu::ldg16(in + i).x);
}

TEST(GlobalMemory, WritePastTheEnd) {
  Device<float> out(100);
  expect_clean([&] { gpu::launch(write_at, {.grid = 1, .block = 1}, out.data(), 99); });
  expect_finding(Check::bounds, "write of 4 bytes 0 bytes past the end of an allocation of 400 bytes",
                 [&] { gpu::launch(write_at, {.grid = 1, .block = 1}, out.data(), 100); });
}

TEST(GlobalMemory, WriteBeforeTheBegin) {
  Device<float> out(100);
  expect_finding(Check::bounds, "write of 4 bytes",
                 [&] { gpu::launch(write_at, {.grid = 1, .block = 1}, out.data(), -1); });
}

TEST(GlobalMemory, VectorReadAcrossTheEnd) {
  Device<float> out(1), in(6, 1.0f);
  expect_finding(Check::bounds, "read of 16 bytes across the end of an allocation of 24 bytes",
                 [&] { gpu::launch(read16_at, {.grid = 1, .block = 1}, out.data(), in.data(), 4); });
}

TEST(GlobalMemory, UseAfterFree) {
  Device<float> out(1);
  const float* freed = nullptr;
  {
    const Device<float> gone(100, 1.0f);
    freed = gone.data();
  }
  expect_finding(Check::bounds, "read of 4 bytes in an allocation of 400 bytes that was freed",
                 [&] { gpu::launch(read_at, {.grid = 1, .block = 1}, out.data(), freed, 5); });
}

// ---- Initialisation

TEST(GlobalMemory, ReadOfWhatNobodyWrote) {
  Device<float> out(1);
  Device<float> in(100);
  const WithPolicy with({emulator::Schedule::forward, emulator::Async::lazy});
  gpu::launch(read_at, {.grid = 1, .block = 1}, out.data(), in.data(), 7);
  EXPECT_THAT(findings_text(),
              ::testing::HasSubstr("read of global memory that nobody has written: byte 28 of an allocation of 400"));
}

TEST(GlobalMemory, HostWritesInitialise) {
  const kernels::Runtime& runtime = emulator::runtime();
  Device<float> out(1), a(10), b(10), c(10);
  const std::vector<float> values(10, 1.0f);
  runtime.copy_to_device(a.data(), values.data(), 40, nullptr);
  runtime.set_bytes(b.data(), 0, 40, nullptr);
  runtime.copy_on_device(c.data(), a.data(), 40, nullptr);
  expect_clean([&] {
    for (const auto* data : {a.data(), b.data(), c.data()})
      gpu::launch(read_at, {.grid = 1, .block = 1}, out.data(), data, 9);
  });
}

TEST(GlobalMemory, CopyOfWhatNobodyWroteStaysSo) {
  Device<float> out(1), from(10), to(10, 1.0f);
  emulator::runtime().copy_on_device(to.data(), from.data(), 40, nullptr);
  const WithPolicy with({emulator::Schedule::forward, emulator::Async::lazy});
  gpu::launch(read_at, {.grid = 1, .block = 1}, out.data(), to.data(), 9);
  EXPECT_THAT(findings_text(), ::testing::HasSubstr("nobody has written"));
}

TEST(GlobalMemory, HostCopyPastTheEnd) {
  Device<float> data(10);
  const std::vector<float> values(11);
  const WithPolicy with({emulator::Schedule::forward, emulator::Async::lazy});
  emulator::runtime().copy_to_device(data.data(), values.data(), 44, nullptr);
  EXPECT_THAT(findings_text(), ::testing::HasSubstr("write by the host of 44 bytes across the end"));
}

// ---- Alignment

__global__ void misaligned(float* out) {
  *reinterpret_cast<uint32_t*>(reinterpret_cast<char*>(out) + 2) = 1;
}

TEST(GlobalMemory, Misaligned) {
  Device<float> out(4);
  expect_finding(Check::alignment, "write of 4 bytes at an address that is not a multiple of it",
                 [&] { gpu::launch(misaligned, {.grid = 1, .block = 1}, out.data()); });
}

}  // namespace
}  // namespace engine::testing
