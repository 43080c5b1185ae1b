// The warpgroup products of sm_90: every instruction, both majors of each operand, all swizzles.
#include <cstdint>
#include <vector>

#include "kernels/gpu.h"
#include "tests/kernels/device_buffer.h"

namespace engine::testing {

namespace gpu = kernels::gpu;
using gpu::Major;
using gpu::Swizzle;
using gpu::swizzled;
using kernels::bf16;
using kernels::f16;

namespace wgmma_test {  // not unnamed: code for sm_80 uses no member of Layout, which nvcc reports there

constexpr int kM = 64, kK = 64;

// An operand of `size` (M or N) x 64 elements of 2 bytes in shared memory, as wgmma wants it.
struct Layout {
  Major major;
  Swizzle swizzle;
  int size;

  // Bytes of a row of the swizzle; without swizzle, a row is one chunk.
  __host__ __device__ constexpr uint32_t width() const { return 16u << static_cast<uint32_t>(swizzle); }

  __host__ __device__ constexpr uint32_t leading() const {
    const auto rows = static_cast<uint32_t>(size);
    if (major == Major::k) return rows * 16;               // without swizzle: the next 8 elements of K
    return swizzle == Swizzle::none ? 128 : width() * kK;  // the next 8 of K; the next `width` bytes of M or N
  }
  __host__ __device__ constexpr uint32_t stride() const {
    if (major == Major::k) return 8 * width();
    return swizzle == Swizzle::none ? kK * 16 : 8 * width();
  }

  // Bytes from the operand's start to element (mn, k).
  __host__ __device__ constexpr uint32_t offset(int mn, int k) const {
    const auto row = static_cast<uint32_t>(major == Major::k ? mn : k);
    const auto column = static_cast<uint32_t>(major == Major::k ? k : mn);
    const uint32_t elements = width() / 2, num_rows = static_cast<uint32_t>(major == Major::k ? size : kK);
    const uint32_t linear = column / elements * (num_rows * width()) + row * width() + column % elements * 2;
    return swizzled(swizzle, linear & ~15u) + linear % 16;
  }
  // Bytes to the first of the 16 elements of K that step `step` multiplies.
  __host__ __device__ constexpr uint32_t step_offset(int step) const {
    const auto k = static_cast<uint32_t>(step * 16);
    if (major == Major::mn) return k * width();
    const uint32_t elements = width() / 2;
    return k / elements * (static_cast<uint32_t>(size) * width()) + k % elements * 2;
  }
};

}  // namespace wgmma_test

namespace {

using namespace wgmma_test;

// d[64][N] (+)= a[64][64] * b[N][64]^T. The operands come as they lie in shared memory; A also as rows, for registers.
template <class T, Major A, Major B, int N, bool FROM_REGISTERS>
__global__ void __launch_bounds__(128)
    product_kernel(float* d, const uint4* a, const T* a_rows, const uint4* b, Swizzle swizzle, bool accumulate) {
#ifdef GPU_SM90
  const Layout layout_a{A, swizzle, kM}, layout_b{B, swizzle, N};
  char* shared_a = gpu::dyn_smem();
  char* shared_b = shared_a + kM * kK * 2;
  const auto thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < kM * kK / 8; i += 128) reinterpret_cast<uint4*>(shared_a)[i] = a[i];
  for (int i = thread; i < N * kK / 8; i += 128) reinterpret_cast<uint4*>(shared_b)[i] = b[i];
  gpu::fence_proxy_async();  // wgmma sees what this thread wrote
  __syncthreads();           // all threads have written and fenced

  const int row = thread / 32 * 16 + thread % 32 / 4, column = thread % 4 * 2;
  float sums[N / 2];
#pragma unroll
  for (int j = 0; j < N / 8; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[j * 4 + e] = d[(row + e / 2 * 8) * N + j * 8 + column + e % 2];
  uint32_t fragments[kK / 16][4];
#pragma unroll
  for (int step = 0; step < kK / 16; ++step)
#pragma unroll
    for (int part = 0; part < 4; ++part)
      fragments[step][part] =
          *reinterpret_cast<const uint32_t*>(a_rows + (row + part % 2 * 8) * kK + step * 16 + column + part / 2 * 8);

  gpu::wgmma_fence();
#pragma unroll
  for (int step = 0; step < kK / 16; ++step) {
    const uint64_t descriptor_b =
        gpu::smem_desc(shared_b + layout_b.step_offset(step), layout_b.leading(), layout_b.stride(), swizzle);
    if constexpr (FROM_REGISTERS) {
      gpu::wgmma<T, B>(sums, fragments[step], descriptor_b, accumulate || step > 0);
    } else {
      const uint64_t descriptor_a =
          gpu::smem_desc(shared_a + layout_a.step_offset(step), layout_a.leading(), layout_a.stride(), swizzle);
      gpu::wgmma<T, A, B>(sums, descriptor_a, descriptor_b, accumulate || step > 0);
    }
    if (step == 1) gpu::wgmma_commit();  // two groups
  }
  gpu::wgmma_commit();
  gpu::wgmma_wait<1>();
  gpu::wgmma_wait<0>();
#pragma unroll
  for (int j = 0; j < N / 8; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) d[(row + e / 2 * 8) * N + j * 8 + column + e % 2] = sums[j * 4 + e];
#endif
}

template <class T>
std::vector<T> laid_out(const std::vector<T>& rows, const Layout& layout) {
  std::vector<T> shared(rows.size());
  for (int mn = 0; mn < layout.size; ++mn)
    for (int k = 0; k < kK; ++k) shared[layout.offset(mn, k) / 2] = rows[static_cast<size_t>(mn * kK + k)];
  return shared;
}

template <class T>
std::vector<T> small_integers(int count, int step, int range) {
  std::vector<T> values;
  for (int i = 0; i < count; ++i)
    values.push_back(kernels::from_float<T>(static_cast<float>(i * step % (2 * range + 1) - range)));
  return values;
}

template <class T, Major A, Major B, int N, bool FROM_REGISTERS>
void test_product() {
  if (compute_capability() != 90) GTEST_SKIP() << "wgmma is an instruction of sm_90a";
  const auto a = small_integers<T>(kM * kK, 7, 6), b = small_integers<T>(N * kK, 11, 7);
  std::vector<float> before(kM * N), product(kM * N), sum(kM * N);
  for (size_t m = 0; m < kM; ++m)
    for (size_t n = 0; n < N; ++n) {
      const size_t i = m * N + n;
      before[i] = static_cast<float>(m) - static_cast<float>(n);
      for (size_t k = 0; k < kK; ++k) product[i] += kernels::to_float(a[m * kK + k]) * kernels::to_float(b[n * kK + k]);
      sum[i] = before[i] + product[i];
    }
  for (const Swizzle swizzle : {Swizzle::none, Swizzle::bytes32, Swizzle::bytes64, Swizzle::bytes128})
    for (const bool accumulate : {false, true}) {
      SCOPED_TRACE(::testing::Message() << "swizzle " << static_cast<int>(swizzle) << ", accumulate " << accumulate);
      const DeviceBuffer<T> rows(a), shared_a(laid_out(a, Layout{A, swizzle, kM}));
      const DeviceBuffer<T> shared_b(laid_out(b, Layout{B, swizzle, N}));
      const DeviceBuffer<float> d(before);
      ASSERT_TRUE(gpu::launch(product_kernel<T, A, B, N, FROM_REGISTERS>,
                              {.grid = 1, .block = 128, .shared_bytes = (kM + N) * kK * 2}, d.data(),
                              reinterpret_cast<const uint4*>(shared_a.data()), rows.data(),
                              reinterpret_cast<const uint4*>(shared_b.data()), swizzle, accumulate));
      EXPECT_EQ(d.values(), accumulate ? sum : product);
    }
}

constexpr bool kShared = false, kRegisters = true;

TEST(Wgmma, Bf16AndBothOperandsKMajor) {
  test_product<bf16, Major::k, Major::k, 64, kShared>();
  test_product<bf16, Major::k, Major::k, 128, kShared>();
  test_product<bf16, Major::k, Major::k, 256, kShared>();
}
TEST(Wgmma, F16AndBothOperandsKMajor) {
  test_product<f16, Major::k, Major::k, 64, kShared>();
  test_product<f16, Major::k, Major::k, 128, kShared>();
  test_product<f16, Major::k, Major::k, 256, kShared>();
}
TEST(Wgmma, AMnMajor) {
  test_product<bf16, Major::mn, Major::k, 64, kShared>();
  test_product<f16, Major::mn, Major::k, 128, kShared>();
}
TEST(Wgmma, BMnMajor) {
  test_product<bf16, Major::k, Major::mn, 128, kShared>();
  test_product<bf16, Major::k, Major::mn, 256, kShared>();
  test_product<f16, Major::k, Major::mn, 64, kShared>();
}
TEST(Wgmma, BothOperandsMnMajor) {
  test_product<bf16, Major::mn, Major::mn, 64, kShared>();
  test_product<f16, Major::mn, Major::mn, 256, kShared>();
}
TEST(Wgmma, Bf16WithAInRegisters) {
  test_product<bf16, Major::k, Major::k, 64, kRegisters>();
  test_product<bf16, Major::k, Major::k, 128, kRegisters>();
  test_product<bf16, Major::k, Major::mn, 256, kRegisters>();
}
TEST(Wgmma, F16WithAInRegisters) {
  test_product<f16, Major::k, Major::mn, 64, kRegisters>();
  test_product<f16, Major::k, Major::k, 128, kRegisters>();
  test_product<f16, Major::k, Major::k, 256, kRegisters>();
}

}  // namespace
}  // namespace engine::testing
