// Convolutions whose normalisation is one pass with what follows: the stem's max-pool, and a second normalised branch.
// Forward they give what the single operations give, backward they are held against double precision.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/ops/conv.h"
#include "tests/engine/error_text.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

const Conv2dShape kStem = {.n = 2, .h = 11, .w = 13, .c = 3, .k = 16, .r = 7, .s = 7, .stride = 1, .padding = 3};
const Conv2dShape kLast = {.n = 2, .h = 7, .w = 6, .c = 16, .k = 32, .r = 3, .s = 3, .stride = 1, .padding = 1};
const Conv2dShape kProjection = {.n = 2, .h = 14, .w = 12, .c = 16, .k = 32, .r = 1, .s = 1, .stride = 2};
const PoolShape kPool = {.window = 3, .stride = 2, .padding = 1};

Backend& device() {
  return backend(test_device());
}

Shape result_of(const Conv2dShape& s) {
  return {s.n, s.p(), s.q(), s.k};
}

// Operands of a convolution with its normalisation; the same ones for the same seed.
ConvBatchNorm make_conv(const Conv2dShape& s, DType dtype, uint64_t seed) {
  const Shape x = {s.n, s.h, s.w, s.c}, w = {s.k, s.r, s.s, s.c};
  return {.shape = s,
          .x = tensor_of(normal_array(x.numel(), dtype, seed), x, dtype, device().activation_layout(x, dtype)),
          .w = tensor_of(normal_array(w.numel(), DType::f32, seed + 1), w),
          .norm = {.x = make_activation(result_of(s), dtype, test_device()),
                   .gamma = tensor_of(normal_array(s.k, DType::f32, seed + 2, 1, 0.3), {s.k}),
                   .beta = tensor_of(normal_array(s.k, DType::f32, seed + 3), {s.k}),
                   .residual = {},
                   .relu = true,
                   .running_mean = full_tensor({s.k}, 0.5),
                   .running_var = full_tensor({s.k}, 2),
                   .mean_shift = {},
                   .y = {},
                   .mean = empty_tensor({s.k}),
                   .rstd = empty_tensor({s.k})}};
}

BatchNormBackward make_backward(const ConvBatchNorm& conv, const Tensor& dy, const Tensor& y) {
  const Tensor& x = conv.norm.x;
  return {.dy = dy,
          .y = y,
          .x = x,
          .gamma = conv.norm.gamma,
          .mean = conv.norm.mean,
          .rstd = conv.norm.rstd,
          .dx = x,  // in place, as the tape does it
          .dgamma = empty_tensor({conv.shape.k}),
          .dbeta = empty_tensor({conv.shape.k})};
}

void expect_gradients(const BatchNormBackward& args, const Array& dz, const Array& y, const Array& x) {
  const BatchNormGradients expected(dz, y, x, array_of(args.gamma), array_of(args.mean), array_of(args.rstd), true);
  EXPECT_TRUE(close_to(array_of(args.dx), expected.dx, args.x.dtype(), args.x.shape()));
  EXPECT_TRUE(close_to(array_of(args.dgamma), expected.dgamma, DType::f32, args.gamma.shape()));
  EXPECT_TRUE(close_to(array_of(args.dbeta), expected.dbeta, DType::f32, args.gamma.shape()));
}

class ConvNormTest : public ::testing::TestWithParam<DType> {};

TEST_P(ConvNormTest, TheStemsPoolTakesTheNormalisedResult) {
  const DType dtype = GetParam();
  const ConvBatchNorm whole = make_conv(kStem, dtype, 1);
  ConvBatchNorm fused = make_conv(kStem, dtype, 1);
  const Layout layout = layout_of(fused.norm.x);
  const Shape pooled = {kStem.n, 6, 7, kStem.k};
  const auto pooled_tensor = [&](DType type) { return make_tensor(pooled, type, test_device(), layout); };

  BatchNormForward norm = whole.norm;
  norm.y = make_tensor(result_of(kStem), dtype, test_device(), layout);
  const Tensor y = pooled_tensor(dtype), argmax = pooled_tensor(DType::u8), other_argmax = pooled_tensor(DType::u8);
  device().conv_batch_norm_forward(kStem, whole.x, whole.w, norm);
  device().max_pool_forward(kPool, norm.y, y, argmax);
  fused.norm.y = pooled_tensor(dtype);
  device().conv_batch_norm_pool_forward(fused, kPool, other_argmax);
  EXPECT_EQ(array_of(fused.norm.y), array_of(y));
  const std::vector<uint8_t> winners = other_argmax.to_vector<uint8_t>();
  EXPECT_EQ(winners, argmax.to_vector<uint8_t>());
  EXPECT_EQ(array_of(fused.norm.running_var), array_of(norm.running_var));

  // Small whole numbers, so that the sums over windows are exact in every type.
  const Array dy = sparse_integers(pooled.numel(), 7, 2), pooled_y = array_of(y), x = array_of(fused.norm.x);
  Array dz(x.size());
  const PoolReference windows = {kStem.n, kStem.h, kStem.w, kStem.k, kPool.window, kPool.stride, kPool.padding};
  windows.for_each([&](size_t to, int64_t position, size_t from) {
    if (position == winners[to] && pooled_y[to] > 0) dz[from] += dy[to];
  });
  const BatchNormBackward args = make_backward(fused, tensor_of(dy, pooled, dtype, layout), fused.norm.y);
  device().batch_norm_pool_backward(args, kPool, other_argmax);
  expect_gradients(args, dz, {}, x);
}

TEST_P(ConvNormTest, TheJoinAddsBothNormalisedBranches) {
  const DType dtype = GetParam();
  ConvBatchNorm main = make_conv(kLast, dtype, 1);
  const ConvBatchNorm shortcut = make_conv(kProjection, dtype, 10);
  const Layout layout = layout_of(main.norm.x);
  const Shape shape = result_of(kLast);
  main.norm.y = make_tensor(shape, dtype, test_device(), layout);
  device().conv_batch_norm_join_forward(main, shortcut);

  const Array x = array_of(main.norm.x), second_x = array_of(shortcut.norm.x), y = array_of(main.norm.y);
  Array residual = BatchNormReference(second_x, array_of(shortcut.norm.gamma), array_of(shortcut.norm.beta), {}, false,
                                      double{1e-5f})
                       .y.value;
  if (on_cpu()) {  // which rounds it in between
    const ConvBatchNorm again = make_conv(kProjection, dtype, 10);
    BatchNormForward norm = again.norm;
    norm.relu = false;
    norm.y = make_tensor(shape, dtype, test_device(), layout);
    device().conv_batch_norm_forward(kProjection, again.x, again.w, norm);
    residual = array_of(norm.y);
  }
  const BatchNormReference expected(x, array_of(main.norm.gamma), array_of(main.norm.beta), residual, true,
                                    double{1e-5f});
  EXPECT_TRUE(close_to(y, expected.y, dtype, shape));
  EXPECT_NE(array_of(main.norm.running_mean), Array(32, 0.5));
  EXPECT_NE(array_of(shortcut.norm.running_mean), Array(32, 0.5));

  const Array dy = normal_array(shape.numel(), dtype, 20);
  const Tensor dy_tensor = tensor_of(dy, shape, dtype, layout);
  const BatchNormBackward first = make_backward(main, dy_tensor, main.norm.y),
                          second = make_backward(shortcut, dy_tensor, main.norm.y);
  device().batch_norm_join_backward(first, second);
  expect_gradients(first, dy, y, x);
  expect_gradients(second, dy, y, second_x);
}

INSTANTIATE_TEST_SUITE_P(Types, ConvNormTest, ::testing::ValuesIn(activation_types()),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST(ConvNormErrors, SayWhatWasExpected) {
  const auto bn = [](int64_t channels) {
    return BatchNormState{.gamma = full_tensor({channels}, 1),
                          .beta = full_tensor({channels}, 0),
                          .running_mean = full_tensor({channels}, 0),
                          .running_var = full_tensor({channels}, 1)};
  };
  const BatchNormState eight = bn(8), four = bn(4);
  const Tensor x = full_tensor({2, 4, 4, 3}, 1), w = full_tensor({8, 1, 1, 3}, 1), small = full_tensor({4, 1, 1, 3}, 1);
  EXPECT_EQ(error_text([&] { conv_bn_relu_max_pool(x, w, eight, {.relu = false}, {}); }),
            "conv_bn_relu_max_pool: expected a ReLU and no residual");
  EXPECT_EQ(error_text([&] { conv_bn_relu_max_pool(x, w, eight, {}, {.window = 5}); }),
            "conv_bn_relu_max_pool: x [2,4,4,8] is smaller than the window 5x5; use a larger image");
  EXPECT_EQ(error_text([&] {
              conv_bn_join({x, w, eight, {}}, {x, small, four, {}});
            }),
            "conv_bn_join: the branches give [2,4,4,8] of f32 on " + to_string(test_device()) +
                " and [2,4,4,4] of f32 on " + to_string(test_device()) +
                "; both must have the same shape, type and device");
}

}  // namespace
}  // namespace engine::testing
