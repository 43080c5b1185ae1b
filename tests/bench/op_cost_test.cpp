#include "bench/op_cost.h"

#include <gtest/gtest.h>

namespace engine::bench {
namespace {

constexpr Conv2dShape kShape = {.n = 2, .h = 8, .w = 8, .c = 4, .k = 6, .r = 3, .s = 3, .stride = 2, .padding = 1};
constexpr double kX = 2 * 8 * 8 * 4, kY = 2 * 4 * 4 * 6, kW = 6 * 3 * 3 * 4;

TEST(OpCost, CountsAConvolutionsOperandsOnce) {
  const OpCost forward = conv_cost(kShape, DType::bf16, ConvPass::forward);
  EXPECT_EQ(forward.flops, 2 * kY * 3 * 3 * 4);
  EXPECT_EQ(forward.read, (kX + kW) * 2);
  EXPECT_EQ(forward.written, kY * 2);
  const OpCost dgrad = conv_cost(kShape, DType::bf16, ConvPass::backward_data);
  EXPECT_EQ(dgrad.read, (kY + kW) * 2);
  EXPECT_EQ(dgrad.written, kX * 2);
}

TEST(OpCost, CountsAFiltersGradientInF32) {
  const OpCost wgrad = conv_cost(kShape, DType::bf16, ConvPass::backward_weights);
  EXPECT_EQ(wgrad.read, (kX + kY) * 2);
  EXPECT_EQ(wgrad.written, kW * 4);
}

TEST(OpCost, CountsTheUsedPixelsOfAStridedPointwiseConvolution) {
  Conv2dShape pointwise = kShape;
  pointwise.r = pointwise.s = 1;
  pointwise.padding = 0;
  EXPECT_EQ(conv_cost(pointwise, DType::f32, ConvPass::forward).read, (kX / 4 + 6 * 4) * 4);
  EXPECT_EQ(conv_cost(pointwise, DType::f32, ConvPass::backward_data).written, kX * 4);
}

TEST(OpCost, ReadsTwiceForBatchStatistics) {
  const Tensor x = Tensor::zeros({2, 4, 4, 8}), y = Tensor::zeros(x.shape());
  BatchNormForward args{.x = x, .gamma = {}, .beta = {}, .y = y};
  const double bytes = 2 * 4 * 4 * 8 * 4;
  EXPECT_EQ(batch_norm_cost(args).read, 2 * bytes);
  EXPECT_EQ(batch_norm_cost(args).written, bytes);
  args.residual = x;
  EXPECT_EQ(batch_norm_cost(args).read, 3 * bytes);
  args.training = false;
  EXPECT_EQ(batch_norm_cost(args).read, 2 * bytes);
}

TEST(OpCost, ReadsTheGradientBehindTheReluIfItWasWritten) {
  const Tensor x = Tensor::zeros({2, 4, 4, 8});
  const double bytes = 2 * 4 * 4 * 8 * 4;
  BatchNormBackward args{.dy = x, .y = x, .x = x, .gamma = {}, .dx = x};
  EXPECT_EQ(batch_norm_cost(args).read, 6 * bytes);  // dy, y, x, twice
  EXPECT_EQ(batch_norm_cost(args).written, bytes);
  args.dresidual = x;
  EXPECT_EQ(batch_norm_cost(args).read, 5 * bytes);
  EXPECT_EQ(batch_norm_cost(args).written, 2 * bytes);
}

// 1x1 convolutions of 8 to 16 channels on 4x4 pixels, two images.
ConvBatchNorm pointwise() {
  const auto zeros = [](int64_t channels) { return Tensor::zeros({2, 4, 4, channels}); };
  return {.shape = {.n = 2, .h = 4, .w = 4, .c = 8, .k = 16},
          .x = zeros(8),
          .w = Tensor::zeros({16, 1, 1, 8}),
          .norm = {.x = zeros(16), .gamma = {}, .beta = {}, .y = zeros(16)}};
}

TEST(OpCost, CountsBothConvolutionsOfABlocksEnd) {
  constexpr double kIn = 2 * 4 * 4 * 8 * 4, kOut = 2 * kIn, kFilter = 8 * 16 * 4;
  const OpCost cost = conv_batch_norm_join_cost(pointwise(), pointwise());
  EXPECT_EQ(cost.flops, 2 * 2.0 * 2 * 4 * 4 * 8 * 16);
  EXPECT_EQ(cost.read, 2 * (kIn + kFilter + kOut));
  EXPECT_EQ(cost.written, 3 * kOut);
}

TEST(OpCost, ReadsBothInputsOfABlocksEndTwice) {
  const Tensor x = Tensor::zeros({2, 4, 4, 8});
  const double bytes = 2 * 4 * 4 * 8 * 4;
  const BatchNormBackward side{.dy = x, .y = x, .x = x, .gamma = {}, .dx = x};
  const OpCost cost = batch_norm_join_backward_cost(side, side);
  EXPECT_EQ(cost.read, 2 * 4 * bytes);
  EXPECT_EQ(cost.written, 2 * bytes);
}

TEST(OpCost, ReadsThePooledGradientInBothPasses) {
  const Tensor x = Tensor::zeros({2, 4, 4, 8}), y = Tensor::zeros({2, 2, 2, 8});
  const Tensor argmax = Tensor::zeros(y.shape(), {.dtype = DType::u8});
  const double big = 2 * 4 * 4 * 8 * 4, small = big / 4;
  const OpCost cost = batch_norm_pool_backward_cost({.dy = y, .y = y, .x = x, .gamma = {}, .dx = x}, argmax);
  EXPECT_EQ(cost.read, 2 * (small + small + small / 4) + small + big);
  EXPECT_EQ(cost.written, big);
}

TEST(OpCost, CountsTheWantedGradientsOfAMatrixProduct) {
  const Tensor x = Tensor::zeros({3, 5}), w = Tensor::zeros({7, 5}), dy = Tensor::zeros({3, 7});
  const double product = 2 * 3 * 5 * 7;
  EXPECT_EQ(linear_cost(x, w, dy).flops, product);
  EXPECT_EQ(linear_backward_cost(x, w, dy, x, w, {}).flops, 2 * product);
  const OpCost only_dw = linear_backward_cost(x, w, dy, {}, w, {});
  EXPECT_EQ(only_dw.flops, product);
  EXPECT_EQ(only_dw.read, (3 * 7 + 3 * 5) * 4);
}

TEST(OpCost, CountsMomentumWhereThereIsSome) {
  const Tensor p = Tensor::zeros({10});
  const std::vector<OptimizerParameter> with = {{.parameter = p, .grad = p, .momentum = p}},
                                        without = {{.parameter = p, .grad = p, .momentum = {}}};
  EXPECT_EQ(optimizer_cost(with).read, 120);
  EXPECT_EQ(optimizer_cost(with).written, 80);
  EXPECT_EQ(optimizer_cost(without).read, 80);
  EXPECT_EQ(optimizer_cost(without).written, 40);
}

TEST(FloorSeconds, IsTheSlowerOfTheTwo) {
  const Ceilings ceilings = {.bytes_per_s = 10, .flops_per_s = 100};
  EXPECT_EQ(floor_seconds({.flops = 1000, .read = 40, .written = 50}, ceilings), 10);
  EXPECT_EQ(floor_seconds({.flops = 100, .read = 40, .written = 50}, ceilings), 9);
}

TEST(MeasureCeilings, FindsTwoRates) {
  const Ceilings cpu = measure_ceilings({}, DType::f32, 1e-4);
  EXPECT_GT(cpu.bytes_per_s, 0);
  EXPECT_GT(cpu.flops_per_s, 0);
  EXPECT_EQ(cpu.dtype, DType::f32);
}

}  // namespace
}  // namespace engine::bench
