// TMA, mbarriers and wgmma together, in a warp-specialised product of matrices.
#include "tests/kernels/hopper_gemm.h"

#include <vector>

#include "tests/kernels/device_buffer.h"

namespace engine::testing {
namespace {

using hopper::gpu::Major;
using kernels::bf16;
using kernels::f16;

template <class T>
std::vector<T> small_integers(int count, int step, int range) {
  std::vector<T> values;
  for (int i = 0; i < count; ++i)
    values.push_back(kernels::from_float<T>(static_cast<float>(i * step % (2 * range + 1) - range)));
  return values;
}

// Sums of small integers: exact in f32, so only the rounding to T remains.
template <class T, Major kMajorB>
void test_gemm(int m, int n, int k) {
  if (compute_capability() != 90) GTEST_SKIP() << "wgmma is an instruction of sm_90a";
  const auto a = small_integers<T>(m * k, 7, 2), b = small_integers<T>(n * k, 11, 3);
  const auto rows = static_cast<size_t>(m), columns = static_cast<size_t>(n), depth = static_cast<size_t>(k);
  std::vector<float> exact(rows * columns), sums((rows + 127) / 128 * columns);
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < columns; ++j) {
      float sum = 0;
      for (size_t l = 0; l < depth; ++l)
        sum += kernels::to_float(a[i * depth + l]) *
               kernels::to_float(kMajorB == Major::k ? b[j * depth + l] : b[l * columns + j]);
      exact[i * columns + j] = sum;
      sums[i / 128 * columns + j] += sum;
    }
  const DeviceBuffer<T> da(a), db(b);
  const DeviceBuffer<T> dd(rows * columns);
  const DeviceBuffer<float> device_sums(sums.size());
  ASSERT_TRUE((hopper::gemm<T, kMajorB>(dd.data(), device_sums.data(), da.data(), db.data(), m, n, k)));
  const auto d = dd.values();
  for (size_t i = 0; i < d.size(); ++i)
    ASSERT_EQ(d[i].bits, kernels::from_float<T>(exact[i]).bits) << i / columns << ", " << i % columns;
  EXPECT_EQ(device_sums.values(), sums);
}

TEST(HopperGemm, OneTile) {
  test_gemm<bf16, Major::k>(128, 128, 64);
}
TEST(HopperGemm, RowsThatDoNotFillATile) {
  test_gemm<bf16, Major::k>(200, 128, 192);
}
TEST(HopperGemm, DepthThatDoesNotFillATile) {
  test_gemm<f16, Major::k>(130, 128, 104);
}
TEST(HopperGemm, MoreTilesThanStages) {
  test_gemm<bf16, Major::k>(300, 256, 640);
}
TEST(HopperGemm, BWithContiguousColumns) {
  test_gemm<bf16, Major::mn>(300, 256, 320);
  test_gemm<f16, Major::mn>(64, 128, 72);
}

}  // namespace
}  // namespace engine::testing
