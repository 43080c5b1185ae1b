#include "kernels/gradient_norm.h"

#include <cmath>
#include <string>
#include <vector>

#include "kernels/non_finite.h"
#include "tests/kernels/guarded.h"

namespace engine::testing {
namespace {

using namespace kernels;

struct Result {
  float norm, grad_scale;
};

Result norm_of(const std::vector<float>& squares, float max_norm = 0, const float* unscale = nullptr) {
  const DeviceBuffer<float> on_device(squares), results(size_t{2});
  EXPECT_TRUE(gradient_norm({.squares = on_device.data(),
                             .num = static_cast<int64_t>(squares.size()),
                             .unscale = unscale,
                             .max_norm = max_norm,
                             .norm = results.data(),
                             .grad_scale = results.data() + 1},
                            nullptr));
  return {results.values()[0], results.values()[1]};
}

TEST(GradientNorm, IsTheRootOfTheSum) {
  EXPECT_EQ(norm_of({9, 16}).norm, 5);
  EXPECT_EQ(norm_of({9, 16}).grad_scale, 1);
  EXPECT_EQ(norm_of(std::vector<float>(10'000, 4)).norm, 200);
  const DeviceBuffer<float> norm(size_t{1});
  EXPECT_TRUE(gradient_norm({.norm = norm.data()}, nullptr));
  EXPECT_EQ(norm.values()[0], 0) << "no gradients";
}

TEST(GradientNorm, ClipsWhatIsLarger) {
  EXPECT_EQ(norm_of({9, 16}, 5.5f).grad_scale, 1);
  EXPECT_TRUE(close_to({static_cast<double>(norm_of({9, 16}, 2).grad_scale)}, Expected::elementwise({2 / (5 + 1e-6)}),
                       DType::f32, {1}));
}

TEST(GradientNorm, UnscalesBeforeItClips) {
  const DeviceBuffer<float> unscale(std::vector<float>{0.125f});
  const Result result = norm_of({64 * 9, 64 * 16}, 5.5f, unscale.data());
  EXPECT_EQ(result.norm, 5);
  EXPECT_EQ(result.grad_scale, 0.125f);
}

// The pass that looks for what is not finite leaves the squares.
TEST(GradientNorm, TakesTheSquaresOfASearch) {
  for (const int64_t offset : {0, 1}) {
    const int64_t counts[] = {1, 3, 1000, 4096};
    std::vector<Guarded> arrays;
    std::vector<FloatChunk> chunks;
    Expected sums{{}, {}, 4096};
    for (const int64_t count : counts) {
      const Array values = normal_array(count, DType::f32, static_cast<uint64_t>(count));
      double sum = 0;
      for (const double v : values) sum += v * v;
      sums.value.push_back(sum);
      sums.magnitude.push_back(sum);
      arrays.push_back(floats_of(values, offset));
      chunks.push_back({.data = arrays.back().floats(), .count = static_cast<int32_t>(count)});
    }
    const DeviceBuffer<FloatChunk> table(chunks);
    const DeviceBuffer<uint32_t> found(std::vector<uint32_t>{0});
    const DeviceBuffer<float> squares(chunks.size());
    ASSERT_TRUE(find_non_finite(
        {.chunks = table.data(), .num_chunks = 4, .found = found.data(), .squares = squares.data()}, nullptr));
    const std::vector<float> values = squares.values();
    EXPECT_TRUE(close_to(Array(values.begin(), values.end()), sums, DType::f32, {4})) << "offset " << offset;
  }
}

TEST(GradientNorm, RefusesWhatItCannotDo) {
  const DeviceBuffer<float> norm(size_t{1});
  EXPECT_FALSE(gradient_norm({.num = 1, .norm = norm.data()}, nullptr));
  EXPECT_FALSE(gradient_norm({}, nullptr));
  EXPECT_EQ(gradient_norm_cost({.num = 100}).bytes, 400);
}

}  // namespace
}  // namespace engine::testing
