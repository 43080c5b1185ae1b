// conv_wgrad against loops in double precision: each kind of source and tile, one split and many.
#include "kernels/convolution.h"
#include "tests/kernels/convolution_cases.h"

namespace engine::testing {
namespace {

using namespace kernels;

class ConvBackwardWeightsTest : public ::testing::TestWithParam<ConvParameters> {
 protected:
  const Conv2dShape shape = std::get<0>(GetParam()).shape;
  const DataType type = std::get<1>(GetParam());
};

void check(const ConvTensors& tensors, bool with_bias, const Expected& convolution,
           const std::vector<int64_t>& indices = {}) {
  const Conv2dShape& s = tensors.shape;
  const DeviceArray x(tensors.type, tensors.x()), dy(tensors.type, tensors.dy());
  const Guarded dw = floats(tensors.w_size), dbias = floats(s.k);
  const DeviceBytes workspace(conv_wgrad_workspace(s, tensors.type));
  ASSERT_TRUE(conv_wgrad({.shape = s,
                          .type = tensors.type,
                          .tf32 = tensors.tf32,
                          .x = x.data(),
                          .dy = dy.data(),
                          .dw = dw.floats(),
                          .dbias = with_bias ? dbias.floats() : nullptr,
                          .workspace = workspace.data()},
                         nullptr));
  EXPECT_TRUE(
      as_expected(dw.values(), convolution, DataType::f32, {s.k, s.r, s.s, s.c / s.groups}, tensors.exact, indices));
  const Array biases = dbias.values();
  if (with_bias) {
    EXPECT_TRUE(as_expected(biases, channel_sums(tensors.dy(), s.k), DataType::f32, {s.k}, tensors.exact)) << "dbias";
  }
}

Expected reference(const ConvTensors& tensors, const std::vector<int64_t>& indices) {
  const Array x = tensors.x(), dy = tensors.dy();
  return conv_reference(indices, tensors.y_size / tensors.shape.k,
                        [&](int64_t index) { return conv_backward_weights_at(tensors.shape, x, dy, index); });
}
Expected reference(const ConvTensors& tensors) {
  const Array x = tensors.x(), dy = tensors.dy();
  return conv_reference(tensors.w_size, tensors.y_size / tensors.shape.k,
                        [&](int64_t index) { return conv_backward_weights_at(tensors.shape, x, dy, index); });
}

TEST_P(ConvBackwardWeightsTest, ExactOnIntegers) {
  const ConvTensors tensors{shape, type, true};
  const Expected convolution = reference(tensors);
  check(tensors, false, convolution);
  check(tensors, true, convolution);
  if (type == DataType::f32) check({shape, type, true, /*tf32=*/true}, true, convolution);
}

TEST_P(ConvBackwardWeightsTest, WithinTheBound) {
  const ConvTensors tensors{shape, type, false};
  check(tensors, true, reference(tensors));
  if (type != DataType::f32) return;
  const ConvTensors rounded{shape, type, false, /*tf32=*/true};
  check(rounded, true, reference(rounded));
}

INSTANTIATE_TEST_SUITE_P(Shapes, ConvBackwardWeightsTest,
                         ::testing::Combine(::testing::ValuesIn(kConvCases), ::testing::ValuesIn(kDataTypes)),
                         conv_test_name);

// Enough pixels to be split over blocks; a sample of the result is compared.
class LargeConvBackwardWeightsTest : public ConvBackwardWeightsTest {};

TEST_P(LargeConvBackwardWeightsTest, ExactOnIntegers) {
  const ConvTensors tensors{shape, type, true};
  ASSERT_GT(conv_wgrad_workspace(shape, type), 0u);
  const std::vector<int64_t> indices = sampled(tensors.w_size, 1500);
  const Expected convolution = reference(tensors, indices);
  check(tensors, false, convolution, indices);
  check(tensors, true, convolution, indices);
}

TEST_P(LargeConvBackwardWeightsTest, WithinTheBound) {
  const ConvTensors tensors{shape, type, false};
  const std::vector<int64_t> indices = sampled(tensors.w_size, 1500);
  check(tensors, true, reference(tensors, indices), indices);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, LargeConvBackwardWeightsTest,
    ::testing::Combine(
        ::testing::Values(
            ConvCase{"128x128", {.n = 3, .h = 15, .w = 13, .c = 24, .k = 136, .r = 3, .s = 3, .padding = 1}},
            ConvCase{"64x64", {.n = 3, .h = 28, .w = 28, .c = 32, .k = 64, .r = 3, .s = 3, .stride = 2, .padding = 1}},
            ConvCase{"32x128", {.n = 5, .h = 16, .w = 16, .c = 16, .k = 16, .r = 3, .s = 3, .padding = 1}},
            ConvCase{"stem", {.n = 2, .h = 45, .w = 45, .c = 3, .k = 64, .r = 7, .s = 7, .stride = 2, .padding = 3}},
            ConvCase{"narrow_stem", {.n = 3, .h = 20, .w = 20, .c = 3, .k = 16, .r = 3, .s = 3, .padding = 1}},
            ConvCase{"odd", {.n = 2, .h = 19, .w = 21, .c = 5, .k = 37, .r = 3, .s = 3, .padding = 1}},
            ConvCase{"odd_k", {.n = 2, .h = 19, .w = 21, .c = 16, .k = 5}},
            ConvCase{"groups", {.n = 3, .h = 15, .w = 15, .c = 16, .k = 8, .r = 3, .s = 3, .groups = 4}}),
        ::testing::ValuesIn(kDataTypes)),
    conv_test_name);

TEST(ConvBackwardWeights, RefusesWhatItCannotDo) {
  const Conv2dShape s = {.n = 3, .h = 20, .w = 20, .c = 8, .k = 8};
  const DeviceArray x(DataType::f32, 1200 * 8 + 1), dy(DataType::f32, 1200 * 8);
  const DeviceBytes workspace(conv_wgrad_workspace(s, DataType::f32));
  ASSERT_GT(workspace.size(), 0u);
  const Guarded dw = floats(8 * 8);
  const ConvBackwardWeights good = {.shape = s,
                                    .type = DataType::f32,
                                    .x = x.data(),
                                    .dy = dy.data(),
                                    .dw = dw.floats(),
                                    .workspace = workspace.data()};
  const auto refused = [&](auto change) {
    ConvBackwardWeights args = good;
    change(args);
    return !conv_wgrad(args, nullptr);
  };
  EXPECT_TRUE(refused([](ConvBackwardWeights& a) { a.x = nullptr; }));
  EXPECT_TRUE(refused([](ConvBackwardWeights& a) { a.dy = nullptr; }));
  EXPECT_TRUE(refused([](ConvBackwardWeights& a) { a.dw = nullptr; }));
  EXPECT_TRUE(refused([](ConvBackwardWeights& a) { a.workspace = nullptr; }));
  EXPECT_TRUE(refused([](ConvBackwardWeights& a) { a.x = static_cast<const char*>(a.x) + 4; }));
  EXPECT_TRUE(refused([](ConvBackwardWeights& a) { a.shape.groups = 3; }));
  EXPECT_TRUE(refused([](ConvBackwardWeights& a) { a.type = static_cast<DataType>(3); }));
  for (const double value : dw.values()) EXPECT_TRUE(std::isnan(value));
}

TEST(ConvBackwardWeights, Cost) {
  const Conv2dShape s = {
      .n = 2, .h = 4, .w = 4, .c = 8, .k = 16, .r = 3, .s = 3, .stride = 2, .padding = 1, .groups = 2};
  const Cost cost = conv_wgrad_cost({.shape = s, .type = DataType::bf16});
  EXPECT_EQ(cost.flops, 2 * 2 * 2 * 2 * 16 * 9 * 4);
  EXPECT_EQ(cost.bytes, 2 * (2 * 16 * 8 + 2 * 4 * 16) + 4 * 16 * 9 * 4);
}

}  // namespace
}  // namespace engine::testing
