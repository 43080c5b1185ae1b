// One small kernel for each name that device code is written in: what the emulator does is what a GPU does. The names
// of sm_90 follow in tma_test.cu and wgmma_test.cu.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/gpu.h"
#include "tests/kernels/device_buffer.h"

namespace engine::testing {
namespace {

namespace gpu = kernels::gpu;
using kernels::bf16;
using kernels::f16;

// ---- Launching

__global__ void positions_kernel(uint32_t* out, int64_t stride, float scale) {
  const uint32_t block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const uint32_t thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * stride + thread] = static_cast<uint32_t>(static_cast<float>(block * 1000 + thread) * scale);
}

TEST(Launch, ConvertsArgumentsAndCountsInThreeDimensions) {
  DeviceBuffer<uint32_t> out(24 * 60);
  ASSERT_TRUE(gpu::launch(positions_kernel, {.grid = {2, 3, 4}, .block = {3, 4, 5}}, out.data(), 60, 2));
  const auto values = out.values();
  for (uint32_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], 2 * (i / 60 * 1000 + i % 60));
}

__global__ void nothing_kernel() {}

TEST(Launch, FailsForABlockThatNoGpuCanRun) {
  EXPECT_FALSE(gpu::launch(nothing_kernel, {.grid = 1, .block = 2048}));
  EXPECT_FALSE(device().last_error().ok());
  EXPECT_TRUE(device().last_error().ok()) << "the error is reported once";
  EXPECT_TRUE(gpu::launch(nothing_kernel, {.grid = 1, .block = 32}));
  finish();
}

__global__ void shared_kernel(uint32_t* out, int words) {
  GPU_SHARED(uint32_t, counter, 3);
  char* dynamic = gpu::dyn_smem();
  auto* numbers = reinterpret_cast<uint32_t*>(dynamic);
  for (int i = static_cast<int>(threadIdx.x); i < words; i += static_cast<int>(blockDim.x))
    numbers[i] = static_cast<uint32_t>(i);
  if (threadIdx.x < 3) counter[threadIdx.x] = 0;
  __syncthreads();  // all numbers are written before any is read, the counters before any is added to
  uint32_t sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < words; i += static_cast<int>(blockDim.x))
    sum += numbers[words - 1 - i];
  atomicAdd(&counter[threadIdx.x % 3], sum);
  __syncthreads();  // all sums are added before they are read
  if (threadIdx.x == 0) {
    out[0] = counter[0] + counter[1] + counter[2];
    out[1] = gpu::smem_u32(dynamic) % 1024;
    out[2] = gpu::smem_u32(dynamic + 20) - gpu::smem_u32(dynamic);
    out[3] = gpu::smem_u32(counter) % 16;
  }
}

TEST(SharedMemory, IsAlignedAndAsLargeAsAskedFor) {
  const int words = 96 * 1024 / 4;
  DeviceBuffer<uint32_t> out(4);
  ASSERT_TRUE(gpu::launch(shared_kernel, {.grid = 1, .block = 128, .shared_bytes = 96 * 1024}, out.data(), words));
  uint32_t sum = 0;
  for (int i = 0; i < words; ++i) sum += static_cast<uint32_t>(i);
  EXPECT_EQ(out.values(), (std::vector<uint32_t>{sum, 0, 20, 0}));
}

// ---- Conversions and global memory

template <class T>
__global__ void widen_kernel(float* out, const T* in, int n) {
  const auto i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) out[i] = gpu::to_float(in[i]);
}

template <class T>
__global__ void narrow_kernel(T* out, uint32_t* pairs, float2* unpacked, const float* in, int n) {
  const auto i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  out[i] = gpu::from_float<T>(in[i]);
  pairs[i] = gpu::pack2<T>(in[i], in[(i + 1) % n]);
  unpacked[i] = gpu::unpack2<T>(pairs[i]);
}

// Zeros, subnormals, halfway cases, overflow, infinities and NaN.
std::vector<float> numbers_to_round() {
  std::vector<float> numbers;
  for (uint32_t exponent = 0; exponent < 256; ++exponent)
    for (const uint32_t fraction :
         {0u, 1u, 0xfffu, 0x1000u, 0x1001u, 0x2fffu, 0x3000u, 0x7fffu, 0x8000u, 0x8001u, 0x18000u, 0x7fffffu})
      for (const uint32_t sign : {0u, 0x80000000u})
        numbers.push_back(std::bit_cast<float>(sign | exponent << 23 | fraction));
  return numbers;
}

template <class T>
class Conversion : public ::testing::Test {};
using HalfTypes = ::testing::Types<bf16, f16>;
TYPED_TEST_SUITE(Conversion, HalfTypes);

TYPED_TEST(Conversion, WidensAllValuesExactly) {
  std::vector<TypeParam> all(65536);
  for (uint32_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<uint16_t>(i);
  const DeviceBuffer<TypeParam> in(all);
  DeviceBuffer<float> out(all.size());
  ASSERT_TRUE(gpu::launch(widen_kernel<TypeParam>, {.grid = 256, .block = 256}, out.data(), in.data(), 65536));
  const auto values = out.values();
  for (size_t i = 0; i < all.size(); ++i) {
    const float expected = kernels::to_float(all[i]);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(values[i])) << i;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(expected)) << i;
    }
  }
}

TYPED_TEST(Conversion, RoundsToNearestEven) {
  const auto numbers = numbers_to_round();
  const auto n = static_cast<int>(numbers.size());
  const DeviceBuffer<float> in(numbers);
  DeviceBuffer<TypeParam> out(numbers.size());
  DeviceBuffer<uint32_t> pairs(numbers.size());
  DeviceBuffer<float2> unpacked(numbers.size());
  ASSERT_TRUE(gpu::launch(narrow_kernel<TypeParam>, {.grid = static_cast<unsigned>(n + 127) / 128, .block = 128},
                          out.data(), pairs.data(), unpacked.data(), in.data(), n));
  const auto rounded = out.values();
  const auto packed = pairs.values();
  const auto pair_values = unpacked.values();
  const auto same = [](TypeParam a, TypeParam b) {
    return a.bits == b.bits || (std::isnan(kernels::to_float(a)) && std::isnan(kernels::to_float(b)));
  };
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto low = kernels::from_float<TypeParam>(numbers[i]);
    const auto high = kernels::from_float<TypeParam>(numbers[(i + 1) % numbers.size()]);
    ASSERT_TRUE(same(rounded[i], low)) << numbers[i];
    ASSERT_TRUE(same(TypeParam{static_cast<uint16_t>(packed[i])}, low)) << numbers[i];
    ASSERT_TRUE(same(TypeParam{static_cast<uint16_t>(packed[i] >> 16)}, high)) << numbers[i];
    if (!std::isnan(numbers[i])) {
      ASSERT_EQ(pair_values[i].x, kernels::to_float(low));
    }
  }
}

__global__ void copy16_kernel(uint32_t* out, const uint32_t* in) {
  gpu::stg16(out + threadIdx.x * 4, gpu::ldg16(in + (31 - threadIdx.x) * 4));
}

TEST(GlobalMemory, MovesSixteenBytesAtOnce) {
  std::vector<uint32_t> numbers(128);
  std::iota(numbers.begin(), numbers.end(), 7u);
  const DeviceBuffer<uint32_t> in(numbers);
  DeviceBuffer<uint32_t> out(128);
  ASSERT_TRUE(gpu::launch(copy16_kernel, {.grid = 1, .block = 32}, out.data(), in.data()));
  const auto values = out.values();
  for (size_t i = 0; i < 128; ++i) EXPECT_EQ(values[i], numbers[(31 - i / 4) * 4 + i % 4]);
}

__global__ void ticket_kernel(unsigned* ticket, int* sums, int* out) {
  GPU_SHARED(int, last, 1);
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
    __threadfence();  // the sum is visible before the ticket says so
    last[0] = atomicAdd(ticket, 1u) == gridDim.x - 1 ? 1 : 0;
  }
  __syncthreads();  // `last` is written before it is read
  if (last[0] != 0 && threadIdx.x == 0) {
    __threadfence();  // the ticket was seen before the sums are read
    int total = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) total += sums[i];
    out[0] = total;
  }
}

TEST(GlobalMemory, TheLastBlockSeesWhatTheOthersWrote) {
  const DeviceBuffer<unsigned> ticket(std::vector<unsigned>{0});
  DeviceBuffer<int> sums(40), out(1);
  ASSERT_TRUE(gpu::launch(ticket_kernel, {.grid = 40, .block = 64}, ticket.data(), sums.data(), out.data()));
  EXPECT_EQ(out.values()[0], 40 * 41 / 2);
}

// ---- cp.async

template <int BYTES>
__device__ void copy_async(void* shared, const void* global, bool ok) {
  if constexpr (BYTES == 4) gpu::cp_async4(shared, global, ok);
  if constexpr (BYTES == 8) gpu::cp_async8(shared, global, ok);
  if constexpr (BYTES == 16) gpu::cp_async16(shared, global, ok);
}

// Three stages in flight; every fifth copy is switched off and gives zeros.
template <int BYTES>
__global__ void pipeline_kernel(uint32_t* out, const uint32_t* in, int stages) {
  constexpr int kThreads = 64, kWords = BYTES / 4, kRing = 3;
  GPU_SHARED(uint32_t, ring, kRing * kThreads * kWords);
  const auto thread = static_cast<int>(threadIdx.x);
  const auto load = [&](int stage) {
    const int element = stage * kThreads + thread;
    const bool ok = element % 5 != 0;
    copy_async<BYTES>(ring + (stage % kRing * kThreads + thread) * kWords, ok ? in + element * kWords : in, ok);
  };
  for (int stage = 0; stage < kRing - 1; ++stage) {
    if (stage < stages) load(stage);
    gpu::cp_async_commit();
  }
  for (int stage = 0; stage < stages; ++stage) {
    gpu::cp_async_wait<kRing - 2>();
    __syncthreads();  // everybody's copies of this stage are there, and the slot that load() fills was read
    if (stage + kRing - 1 < stages) load(stage + kRing - 1);
    gpu::cp_async_commit();
    const int neighbour = (thread + 1) % kThreads;
    for (int word = 0; word < kWords; ++word)
      out[(stage * kThreads + thread) * kWords + word] = ring[(stage % kRing * kThreads + neighbour) * kWords + word];
  }
}

template <int BYTES>
void test_pipeline() {
  constexpr int kWords = BYTES / 4, kStages = 7;
  std::vector<uint32_t> numbers(kStages * 64 * kWords);
  std::iota(numbers.begin(), numbers.end(), 1000u);
  const DeviceBuffer<uint32_t> in(numbers);
  DeviceBuffer<uint32_t> out(numbers.size());
  ASSERT_TRUE(gpu::launch(pipeline_kernel<BYTES>, {.grid = 1, .block = 64}, out.data(), in.data(), kStages));
  const auto values = out.values();
  for (int stage = 0; stage < kStages; ++stage)
    for (int thread = 0; thread < 64; ++thread)
      for (int word = 0; word < kWords; ++word) {
        const int element = stage * 64 + (thread + 1) % 64;
        const uint32_t expected = element % 5 == 0 ? 0 : numbers[static_cast<size_t>(element * kWords + word)];
        ASSERT_EQ(values[static_cast<size_t>((stage * 64 + thread) * kWords + word)], expected);
      }
}

TEST(CpAsync, Copies4Bytes) {
  test_pipeline<4>();
}
TEST(CpAsync, Copies8Bytes) {
  test_pipeline<8>();
}
TEST(CpAsync, Copies16Bytes) {
  test_pipeline<16>();
}

// ---- Warps and barriers

__global__ void shuffle_kernel(int* out) {
  const auto lane = static_cast<int>(threadIdx.x);
  const int value = lane * 10;
  int* mine = out + lane * 8;
  mine[0] = __shfl_sync(0xffffffffu, value, 5);
  mine[1] = __shfl_sync(0xffffffffu, value, lane + 1, 8);
  mine[2] = __shfl_xor_sync(0xffffffffu, value, 16);
  mine[3] = __shfl_down_sync(0xffffffffu, value, 3);
  mine[4] = __shfl_up_sync(0xffffffffu, value, 3);
  mine[5] = static_cast<int>(__ballot_sync(0xffffffffu, lane % 3 == 0));
  mine[6] = __any_sync(0xffffffffu, lane == 7) + 2 * __all_sync(0xffffffffu, lane < 32);
  mine[7] = static_cast<int>(__shfl_xor_sync(0xffffffffu, static_cast<float>(value), 1));
}

TEST(Warp, ExchangesValues) {
  DeviceBuffer<int> out(32 * 8);
  ASSERT_TRUE(gpu::launch(shuffle_kernel, {.grid = 1, .block = 32}, out.data()));
  const auto values = out.values();
  for (int lane = 0; lane < 32; ++lane) {
    const std::vector<int> expected = {50,
                                       (lane / 8 * 8 + (lane + 1) % 8) * 10,
                                       (lane ^ 16) * 10,
                                       (lane + 3 < 32 ? lane + 3 : lane) * 10,
                                       (lane - 3 >= 0 ? lane - 3 : lane) * 10,
                                       0x49249249,
                                       3,
                                       (lane ^ 1) * 10};
    const auto first = values.begin() + lane * 8;
    EXPECT_EQ(std::vector<int>(first, first + 8), expected) << "lane " << lane;
  }
}

// Warp 0 produces, warps 1 and 2 consume: full and free are barriers of all three, of which one side does not wait.
__global__ void named_barrier_kernel(int* out, int rounds) {
  constexpr int kFull = 1, kFree = 2, kThreads = 96;
  GPU_SHARED(int, slot, 32);
  const auto thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  for (int round = 0; round < rounds; ++round) {
    if (thread < 32) {
      if (round > 0) gpu::bar_sync<kFree>(kThreads);  // the last round's values were read
      slot[lane] = round * 100 + lane;
      gpu::bar_arrive<kFull>(kThreads);  // this round's are written
    } else {
      gpu::bar_sync<kFull>(kThreads);
      out[round * 64 + thread - 32] = slot[31 - lane];
      if (round + 1 < rounds) gpu::bar_arrive<kFree>(kThreads);
    }
  }
}

TEST(NamedBarrier, OrdersProducerAndConsumers) {
  DeviceBuffer<int> out(5 * 64);
  ASSERT_TRUE(gpu::launch(named_barrier_kernel, {.grid = 1, .block = 96}, out.data(), 5));
  const auto values = out.values();
  for (int i = 0; i < 5 * 64; ++i) ASSERT_EQ(values[static_cast<size_t>(i)], i / 64 * 100 + 31 - i % 32);
}

// ---- Matrices

__global__ void ldmatrix_kernel(uint32_t* out, bool transposed) {
  GPU_SHARED(uint16_t, rows, 32 * 8);
  const auto lane = static_cast<int>(threadIdx.x);
  for (int i = 0; i < 8; ++i) rows[lane * 8 + i] = static_cast<uint16_t>(lane * 8 + i);
  __syncwarp();  // all rows are written
  uint32_t r[4];
  if (transposed) {
    gpu::ldmatrix_x4_trans(r, rows + lane * 8);
  } else {
    gpu::ldmatrix_x4(r, rows + lane * 8);
  }
  for (int i = 0; i < 4; ++i) out[lane * 4 + i] = r[i];
}

TEST(Matrix, LoadsFragments) {
  for (const bool transposed : {false, true}) {
    DeviceBuffer<uint32_t> out(128);
    ASSERT_TRUE(gpu::launch(ldmatrix_kernel, {.grid = 1, .block = 32}, out.data(), transposed));
    const auto values = out.values();
    for (uint32_t lane = 0; lane < 32; ++lane)
      for (uint32_t matrix = 0; matrix < 4; ++matrix) {
        const uint32_t row = lane / 4, column = lane % 4 * 2, step = transposed ? 8 : 1;
        const uint32_t low = matrix * 64 + (transposed ? column * 8 + row : row * 8 + column);
        EXPECT_EQ(values[lane * 4 + matrix], low | (low + step) << 16) << lane << ", " << matrix << ", " << transposed;
      }
  }
}

// d[32][24] += a[32][16] * b[24][16]^T, fragments straight from global memory.
template <class T>
__global__ void mma_kernel(float* d, const float* a, const float* b) {
  constexpr int MT = 2, NT = 3;
  const auto lane = static_cast<int>(threadIdx.x), row = lane / 4, column = lane % 4 * 2;
  uint32_t fa[MT][4], fb[NT][2];
  float sums[MT][NT][4];
#pragma unroll
  for (int i = 0; i < MT; ++i)
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      const float* pair = a + (i * 16 + row + part % 2 * 8) * 16 + column + part / 2 * 8;
      fa[i][part] = gpu::pack2<T>(pair[0], pair[1]);
    }
#pragma unroll
  for (int j = 0; j < NT; ++j)
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      const float* pair = b + (j * 8 + row) * 16 + column + part * 8;
      fb[j][part] = gpu::pack2<T>(pair[0], pair[1]);
    }
#pragma unroll
  for (int i = 0; i < MT; ++i)
#pragma unroll
    for (int j = 0; j < NT; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[i][j][e] = d[(i * 16 + row + e / 2 * 8) * 24 + j * 8 + column + e % 2];
  gpu::mma_tile<T>(sums, fa, fb);
#pragma unroll
  for (int i = 0; i < MT; ++i)
#pragma unroll
    for (int j = 0; j < NT; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) d[(i * 16 + row + e / 2 * 8) * 24 + j * 8 + column + e % 2] = sums[i][j][e];
}

template <class T>
class Mma : public ::testing::Test {};
TYPED_TEST_SUITE(Mma, HalfTypes);

TYPED_TEST(Mma, AddsTheProduct) {
  std::vector<float> a(32 * 16), b(24 * 16), d(32 * 24), expected(32 * 24);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(static_cast<int>(i * 7 % 11) - 5);
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(static_cast<int>(i * 5 % 13) - 6);
  for (size_t m = 0; m < 32; ++m)
    for (size_t n = 0; n < 24; ++n) {
      d[m * 24 + n] = static_cast<float>(m) - static_cast<float>(n);
      expected[m * 24 + n] = d[m * 24 + n];
      for (size_t k = 0; k < 16; ++k) expected[m * 24 + n] += a[m * 16 + k] * b[n * 16 + k];
    }
  const DeviceBuffer<float> da(a), db(b), dd(d);
  ASSERT_TRUE(gpu::launch(mma_kernel<TypeParam>, {.grid = 1, .block = 32}, dd.data(), da.data(), db.data()));
  EXPECT_EQ(dd.values(), expected);
}

__global__ void mma_tf32_kernel(float* d, const float* a, const float* b) {
  constexpr int MT = 2, NT = 3;
  const auto lane = static_cast<int>(threadIdx.x), row = lane / 4, column = lane % 4;
  uint32_t fa[MT][4], fb[NT][2];
  float sums[MT][NT][4];
#pragma unroll
  for (int i = 0; i < MT; ++i)
#pragma unroll
    for (int part = 0; part < 4; ++part)
      fa[i][part] = gpu::round_tf32(a[(i * 16 + row + part % 2 * 8) * 8 + column + part / 2 * 4]);
#pragma unroll
  for (int j = 0; j < NT; ++j)
#pragma unroll
    for (int part = 0; part < 2; ++part) fb[j][part] = gpu::round_tf32(b[(j * 8 + row) * 8 + column + part * 4]);
#pragma unroll
  for (int i = 0; i < MT; ++i)
#pragma unroll
    for (int j = 0; j < NT; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[i][j][e] = d[(i * 16 + row + e / 2 * 8) * 24 + j * 8 + column * 2 + e % 2];
  gpu::mma_tile_tf32(sums, fa, fb);
#pragma unroll
  for (int i = 0; i < MT; ++i)
#pragma unroll
    for (int j = 0; j < NT; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) d[(i * 16 + row + e / 2 * 8) * 24 + j * 8 + column * 2 + e % 2] = sums[i][j][e];
}

// d[32][24] += a[32][8] * b[24][8]^T.
TEST(MmaTf32, AddsTheProduct) {
  std::vector<float> a(32 * 8), b(24 * 8), d(32 * 24), expected(32 * 24);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(static_cast<int>(i * 7 % 11) - 5);
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(static_cast<int>(i * 5 % 13) - 6);
  for (size_t m = 0; m < 32; ++m)
    for (size_t n = 0; n < 24; ++n) {
      d[m * 24 + n] = static_cast<float>(m) - static_cast<float>(n);
      expected[m * 24 + n] = d[m * 24 + n];
      for (size_t k = 0; k < 8; ++k) expected[m * 24 + n] += a[m * 8 + k] * b[n * 8 + k];
    }
  const DeviceBuffer<float> da(a), db(b), dd(d);
  ASSERT_TRUE(gpu::launch(mma_tf32_kernel, {.grid = 1, .block = 32}, dd.data(), da.data(), db.data()));
  EXPECT_EQ(dd.values(), expected);
}

__global__ void round_tf32_kernel(float* x) {
  x[threadIdx.x] = __uint_as_float(gpu::round_tf32(x[threadIdx.x]));
}

TEST(Tf32, RoundsToTheNearestAndTiesAwayFromZero) {
  const std::vector<float> x = {1 + 0x1p-12f, 1 + 0x1p-11f, -1 - 0x1p-11f, 1 + 0x1.8p-10f, 3, 0, INFINITY};
  const std::vector<float> expected = {1, 1 + 0x1p-10f, -1 - 0x1p-10f, 1 + 0x1p-9f, 3, 0, INFINITY};
  const DeviceBuffer<float> values(x);
  ASSERT_TRUE(gpu::launch(round_tf32_kernel, {.grid = 1, .block = static_cast<unsigned>(x.size())}, values.data()));
  EXPECT_EQ(values.values(), expected);
}

// ---- Integers and bits

__global__ void integer_kernel(uint32_t* out) {
  out[0] = static_cast<uint32_t>(__popc(0xf0f0u));
  out[1] = static_cast<uint32_t>(__clz(1));
  out[2] = static_cast<uint32_t>(__ffs(8));
  out[3] = __umulhi(0x80000000u, 6u);
  out[4] = __byte_perm(0x33221100u, 0x77665544u, 0x7250u);
  out[5] = __float_as_uint(-2.0f);
  out[6] = static_cast<uint32_t>(__uint_as_float(0x41200000u));
  out[7] = static_cast<uint32_t>(min(3, 5) + max(10, 20));
  out[8] = static_cast<uint32_t>(__float2int_rn(2.5f) * 10 + __float2int_rn(3.5f));
}

TEST(Arithmetic, OfIntegersAndBits) {
  DeviceBuffer<uint32_t> out(9);
  ASSERT_TRUE(gpu::launch(integer_kernel, {.grid = 1, .block = 1}, out.data()));
  EXPECT_EQ(out.values(), (std::vector<uint32_t>{8, 31, 4, 3, 0x77225500u, 0xc0000000u, 10, 23, 24}));
}

}  // namespace
}  // namespace engine::testing
