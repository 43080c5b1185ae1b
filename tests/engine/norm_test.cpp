// Batch normalisation against double precision, in both layouts.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/backend.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

struct Case {
  const char* name;
  Shape shape;
  Layout layout;
  double mean = 0;  // of x: large against its deviation, sums of squares would cancel
};

const Case kCases[] = {
    {"blocked", {3, 7, 5, 48}, Layout::blocked16},
    {"blocked_large_plane", {2, 60, 60, 16}, Layout::blocked16},  // more pixels than one segment
    {"blocked_far_from_zero", {4, 9, 9, 32}, Layout::blocked16, 100},
    {"nhwc", {3, 7, 5, 32}, Layout::nhwc},
    {"nhwc_10_channels", {3, 7, 5, 10}, Layout::nhwc},
    {"nhwc_20_channels", {2, 4, 4, 20}, Layout::nhwc},
    {"one_pixel", {9, 1, 1, 64}, Layout::blocked16},
};

class BatchNormTest : public ::testing::TestWithParam<std::tuple<Case, DType>> {
 protected:
  void SetUp() override {
    const auto& [c, type] = GetParam();
    shape = c.shape;
    layout = c.layout;
    dtype = type;
    channels = shape[3];
    x = normal_array(shape.numel(), dtype, 1, c.mean);
    residual = normal_array(shape.numel(), dtype, 2);
    dy = normal_array(shape.numel(), dtype, 3);
    gamma = normal_array(channels, DType::f32, 4, 1, 0.3);
    beta = normal_array(channels, DType::f32, 5);
  }

  Tensor activation(const Array& values) const { return tensor_of(values, shape, dtype, layout); }
  Tensor parameter(const Array& values) const { return tensor_of(values, {channels}); }

  BatchNormForward forward_args(bool with_residual, bool relu) const {
    return {.x = activation(x),
            .gamma = parameter(gamma),
            .beta = parameter(beta),
            .residual = with_residual ? activation(residual) : Tensor{},
            .relu = relu,
            .running_mean = full_tensor({channels}, 0.5),
            .running_var = full_tensor({channels}, 2),
            .mean_shift = {},
            .y = empty_tensor(shape, dtype, layout),
            .mean = empty_tensor({channels}),
            .rstd = empty_tensor({channels})};
  }

  void check_forward(bool with_residual, bool relu) {
    const BatchNormForward args = forward_args(with_residual, relu);
    backend(test_device()).batch_norm_forward(args);
    const BatchNormReference expected(x, gamma, beta, with_residual ? residual : Array{}, relu, double{1e-5f});
    EXPECT_TRUE(close_to(array_of(args.y), expected.y, dtype, shape));
    const Expected mean{expected.mean, expected.mean_abs, shape.numel() / channels};
    EXPECT_TRUE(close_to(array_of(args.mean), mean, DType::f32, {channels}));
    Array running_mean(mean.value), running_magnitude(mean.magnitude);
    for (double& v : running_mean) v = 0.9 * 0.5 + 0.1 * v;
    EXPECT_TRUE(close_to(array_of(args.running_mean), {running_mean, Array(running_mean.size(), 1.0), mean.terms},
                         DType::f32, {channels}));
    Array running_var(expected.unbiased_var);
    for (double& v : running_var) v = 0.9 * 2 + 0.1 * v;
    Expected var = Expected::elementwise(running_var);
    var.terms = mean.terms;
    EXPECT_TRUE(close_to(array_of(args.running_var), var, DType::f32, {channels}));
  }

  void check_backward(bool relu, bool with_residual, bool training) {
    BatchNormForward forward = forward_args(with_residual, relu);
    forward.training = training;
    backend(test_device()).batch_norm_forward(forward);
    BatchNormBackward args = {.dy = activation(dy),
                              .y = relu ? forward.y : Tensor{},
                              .x = forward.x,
                              .gamma = forward.gamma,
                              .mean = forward.mean,
                              .rstd = forward.rstd,
                              .training = training,
                              .dx = empty_tensor(shape, dtype, layout),
                              .dgamma = empty_tensor({channels}),
                              .dbeta = empty_tensor({channels}),
                              .dresidual = with_residual ? empty_tensor(shape, dtype, layout) : Tensor{}};
    backend(test_device()).batch_norm_backward(args);
    const BatchNormGradients expected(dy, relu ? array_of(forward.y) : Array{}, x, gamma, array_of(forward.mean),
                                      array_of(forward.rstd), training);
    EXPECT_TRUE(close_to(array_of(args.dx), expected.dx, dtype, shape));
    EXPECT_TRUE(close_to(array_of(args.dgamma), expected.dgamma, DType::f32, {channels}));
    EXPECT_TRUE(close_to(array_of(args.dbeta), expected.dbeta, DType::f32, {channels}));
    if (with_residual) {
      EXPECT_TRUE(equal_to(array_of(args.dresidual), expected.dresidual.value, shape));
    }
  }

  Shape shape;
  Layout layout{};
  DType dtype{};
  int64_t channels = 0;
  Array x, residual, dy, gamma, beta;
};

TEST_P(BatchNormTest, Forward) {
  check_forward(false, false);
}
TEST_P(BatchNormTest, ForwardRelu) {
  check_forward(false, true);
}
TEST_P(BatchNormTest, ForwardResidual) {
  check_forward(true, false);
}
TEST_P(BatchNormTest, ForwardResidualRelu) {
  check_forward(true, true);
}
TEST_P(BatchNormTest, Backward) {
  check_backward(false, false, true);
}
TEST_P(BatchNormTest, BackwardRelu) {
  check_backward(true, false, true);
}
TEST_P(BatchNormTest, BackwardResidual) {
  check_backward(false, true, true);
}
TEST_P(BatchNormTest, BackwardResidualRelu) {
  check_backward(true, true, true);
}
TEST_P(BatchNormTest, BackwardWithFixedStatistics) {
  check_backward(true, false, false);
}

TEST_P(BatchNormTest, FixedStatisticsAreUsedAndKept) {
  BatchNormForward args = forward_args(false, false);
  args.training = false;
  backend(test_device()).batch_norm_forward(args);
  Expected expected = Expected::elementwise(x);
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t k = i % static_cast<size_t>(channels);
    const double scale = gamma[k] / std::sqrt(2 + double{1e-5f});
    expected.value[i] = (x[i] - 0.5) * scale + beta[k];
    expected.magnitude[i] = (std::abs(x[i]) + 0.5) * std::abs(scale) + std::abs(beta[k]);
  }
  EXPECT_TRUE(close_to(array_of(args.y), expected, dtype, shape));
  EXPECT_EQ(array_of(args.running_mean), Array(static_cast<size_t>(channels), 0.5));
  EXPECT_EQ(array_of(args.running_var), Array(static_cast<size_t>(channels), 2.0));
}

TEST_P(BatchNormTest, DoesNotDependOnTheNumberOfThreads) {
  const int threads = num_threads();
  std::vector<Array> results;
  for (const int count : {1, 2, 3}) {
    set_num_threads(count);
    const BatchNormForward args = forward_args(true, true);
    backend(test_device()).batch_norm_forward(args);
    results.push_back(array_of(args.y));
  }
  set_num_threads(threads);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

INSTANTIATE_TEST_SUITE_P(Layouts, BatchNormTest,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(activation_types())),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param));
                         });

const Shape kSmall = {2, 4, 4, 16};

// Every tensor that the contract lets be another one.
TEST(BatchNorm, WritesInPlace) {
  const Array values = normal_array(kSmall.numel(), DType::f32, 1), other = normal_array(kSmall.numel(), DType::f32, 2);
  const auto forward = [&](bool in_place) {
    const Tensor residual = tensor_of(other, kSmall);
    const Tensor y = in_place ? residual : empty_tensor(kSmall);
    backend(test_device())
        .batch_norm_forward({.x = tensor_of(values, kSmall),
                             .gamma = full_tensor({16}, 1.5),
                             .beta = full_tensor({16}, 0),
                             .residual = residual,
                             .relu = true,
                             .running_mean = full_tensor({16}, 0),
                             .running_var = full_tensor({16}, 0),
                             .mean_shift = {},
                             .y = y,
                             .mean = empty_tensor({16}),
                             .rstd = empty_tensor({16})});
    return array_of(y);
  };
  EXPECT_EQ(forward(true), forward(false));
  enum class Place { apart, on_x, on_dy };
  const auto backward = [&](Place place) {
    const Tensor x = tensor_of(values, kSmall), dy = tensor_of(other, kSmall);
    const Tensor dx = place == Place::on_x ? x : (place == Place::on_dy ? dy : empty_tensor(kSmall));
    backend(test_device())
        .batch_norm_backward({.dy = dy,
                              .y = tensor_of(values, kSmall),
                              .x = x,
                              .gamma = full_tensor({16}, 1.5),
                              .mean = full_tensor({16}, 0.25),
                              .rstd = full_tensor({16}, 2),
                              .dx = dx,
                              .dgamma = empty_tensor({16}),
                              .dbeta = empty_tensor({16}),
                              .dresidual = {}});
    return array_of(dx);
  };
  EXPECT_EQ(backward(Place::on_x), backward(Place::apart));
  EXPECT_EQ(backward(Place::on_dy), backward(Place::apart));
}

TEST(BatchNorm, AddsAFoldedBiasToTheRunningMeanOnly) {
  const Array values = normal_array(kSmall.numel(), DType::f32, 1);
  const auto run = [&](const Tensor& shift) {
    const Tensor running_mean = full_tensor({16}, 0), y = empty_tensor(kSmall);
    backend(test_device())
        .batch_norm_forward({.x = tensor_of(values, kSmall),
                             .gamma = full_tensor({16}, 1),
                             .beta = full_tensor({16}, 0),
                             .residual = {},
                             .momentum = 0.5f,
                             .running_mean = running_mean,
                             .running_var = full_tensor({16}, 0),
                             .mean_shift = shift,
                             .y = y,
                             .mean = empty_tensor({16}),
                             .rstd = empty_tensor({16})});
    return std::pair(array_of(y), array_of(running_mean));
  };
  const auto plain = run({}), shifted = run(full_tensor({16}, 8));
  EXPECT_EQ(plain.first, shifted.first);
  for (size_t k = 0; k < 16; ++k) EXPECT_NEAR(shifted.second[k], plain.second[k] + 4, 4e-6);
}

TEST(BatchNorm, KeepsANotANumberVisible) {
  Array values = normal_array(kSmall.numel(), DType::f32, 1);
  values[5] = std::nan("");
  const Tensor y = empty_tensor(kSmall);
  backend(test_device())
      .batch_norm_forward({.x = tensor_of(values, kSmall),
                           .gamma = full_tensor({16}, 1),
                           .beta = full_tensor({16}, 0),
                           .residual = {},
                           .relu = true,
                           .running_mean = full_tensor({16}, 0),
                           .running_var = full_tensor({16}, 0),
                           .mean_shift = {},
                           .y = y,
                           .mean = empty_tensor({16}),
                           .rstd = empty_tensor({16})});
  EXPECT_TRUE(std::isnan(array_of(y)[5]));
}

}  // namespace
}  // namespace engine::testing
