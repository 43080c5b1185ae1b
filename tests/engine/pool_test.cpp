// Pooling against plain loops, in both layouts.
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "engine/backend.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

struct Case {
  const char* name;
  PoolReference pool;
  Layout layout;
};

const Case kMaxCases[] = {
    {"stem", {2, 14, 14, 32, 3, 2, 1}, Layout::blocked16},
    {"odd", {1, 9, 7, 16, 3, 2, 1}, Layout::blocked16},
    {"nhwc", {2, 8, 8, 32, 3, 2, 1}, Layout::nhwc},
    {"ten_channels", {2, 8, 6, 10, 3, 2, 1}, Layout::nhwc},
    {"no_overlap", {1, 8, 8, 16, 2, 2, 0}, Layout::blocked16},
    {"gaps", {1, 9, 9, 16, 2, 3, 0}, Layout::blocked16},
    {"dense", {1, 6, 6, 16, 3, 1, 1}, Layout::blocked16},
};
const Case kAverageCases[] = {
    {"seven", {2, 7, 7, 32, 7, 7, 0}, Layout::blocked16},
    {"rest_dropped", {1, 9, 10, 16, 4, 4, 0}, Layout::blocked16},
    {"overlap", {1, 8, 8, 16, 3, 2, 0}, Layout::blocked16},
    {"ten_channels", {2, 6, 6, 10, 2, 2, 0}, Layout::nhwc},
};

class PoolTest : public ::testing::TestWithParam<std::tuple<Case, DType>> {
 protected:
  const PoolReference& pool() const { return std::get<0>(GetParam()).pool; }
  Layout layout() const { return std::get<0>(GetParam()).layout; }
  DType dtype() const { return std::get<1>(GetParam()); }
  Shape x_shape() const { return {pool().n, pool().h, pool().w, pool().c}; }
  Shape y_shape() const { return {pool().n, pool().p(), pool().q(), pool().c}; }
  PoolShape options() const { return {pool().window, pool().stride, pool().padding}; }
  Tensor empty(const Shape& shape, DType type) const { return empty_tensor(shape, type, layout()); }
};

class MaxPoolTest : public PoolTest {};

TEST_P(MaxPoolTest, FindsValuesAndPositions) {
  const Array x = sparse_integers(x_shape().numel(), 1, 2);  // many ties
  Array best(static_cast<size_t>(y_shape().numel()), -std::numeric_limits<double>::infinity()), where(best.size());
  pool().for_each([&](size_t out, int64_t position, size_t in) {
    if (x[in] <= best[out]) return;
    best[out] = x[in];
    where[out] = static_cast<double>(position);
  });
  const Tensor y = empty(y_shape(), dtype()), argmax = empty(y_shape(), DType::u8);
  backend(test_device()).max_pool_forward(options(), tensor_of(x, x_shape(), dtype(), layout()), y, argmax);
  EXPECT_TRUE(equal_to(array_of(y), best, y_shape()));
  EXPECT_TRUE(equal_to(array_of(argmax), where, y_shape()));
}

TEST_P(MaxPoolTest, SendsGradientsBack) {
  const Array dy = normal_array(y_shape().numel(), dtype(), 2);
  const Array x = normal_array(x_shape().numel(), dtype(), 3);
  const Tensor y = empty(y_shape(), dtype()), argmax = empty(y_shape(), DType::u8), dx = empty(x_shape(), dtype());
  backend(test_device()).max_pool_forward(options(), tensor_of(x, x_shape(), dtype(), layout()), y, argmax);
  backend(test_device()).max_pool_backward(options(), tensor_of(dy, y_shape(), dtype(), layout()), argmax, dx);
  const Array where = array_of(argmax);
  Expected expected{Array(x.size()), Array(x.size()), pool().window * pool().window};
  pool().for_each([&](size_t out, int64_t position, size_t in) {
    if (where[out] != static_cast<double>(position)) return;
    expected.value[in] += dy[out];
    expected.magnitude[in] += std::abs(dy[out]);
  });
  EXPECT_TRUE(close_to(array_of(dx), expected, dtype(), x_shape()));
}

TEST_P(MaxPoolTest, KeepsANotANumber) {
  const Array x(static_cast<size_t>(x_shape().numel()), std::nan(""));
  const Tensor y = empty(y_shape(), dtype());
  backend(test_device()).max_pool_forward(options(), tensor_of(x, x_shape(), dtype(), layout()), y, {});
  for (const double v : array_of(y)) ASSERT_TRUE(std::isnan(v));
}

class AveragePoolTest : public PoolTest {};

TEST_P(AveragePoolTest, Averages) {
  const Array x = normal_array(x_shape().numel(), dtype(), 1);
  const double scale = 1.0 / static_cast<double>(pool().window * pool().window);
  Expected expected{Array(static_cast<size_t>(y_shape().numel())), Array(static_cast<size_t>(y_shape().numel())),
                    pool().window * pool().window};
  pool().for_each([&](size_t out, int64_t, size_t in) {
    expected.value[out] += x[in] * scale;
    expected.magnitude[out] += std::abs(x[in]) * scale;
  });
  const Tensor y = empty(y_shape(), dtype());
  backend(test_device()).avg_pool_forward(options(), tensor_of(x, x_shape(), dtype(), layout()), y);
  EXPECT_TRUE(close_to(array_of(y), expected, dtype(), y_shape()));
}

TEST_P(AveragePoolTest, SpreadsGradients) {
  const Array dy = normal_array(y_shape().numel(), dtype(), 1);
  const double scale = 1.0 / static_cast<double>(pool().window * pool().window);
  Expected expected{Array(static_cast<size_t>(x_shape().numel())), Array(static_cast<size_t>(x_shape().numel())),
                    pool().window * pool().window};
  pool().for_each([&](size_t out, int64_t, size_t in) {
    expected.value[in] += dy[out] * scale;
    expected.magnitude[in] += std::abs(dy[out]) * scale;
  });
  const Tensor dx = empty(x_shape(), dtype());
  backend(test_device()).avg_pool_backward(options(), tensor_of(dy, y_shape(), dtype(), layout()), dx);
  EXPECT_TRUE(close_to(array_of(dx), expected, dtype(), x_shape()));
}

TEST_P(AveragePoolTest, GlobalAverageAndItsGradient) {
  const Array x = normal_array(x_shape().numel(), dtype(), 1);
  const Shape pooled = {pool().n, pool().c};
  const auto pixels = static_cast<double>(pool().h * pool().w);
  Expected expected{Array(static_cast<size_t>(pooled.numel())), Array(static_cast<size_t>(pooled.numel())),
                    pool().h * pool().w};
  const auto channels = static_cast<size_t>(pool().c);
  const size_t image = static_cast<size_t>(pool().h * pool().w) * channels;
  for (size_t i = 0; i < x.size(); ++i) {
    expected.value[i / image * channels + i % channels] += x[i] / pixels;
    expected.magnitude[i / image * channels + i % channels] += std::abs(x[i]) / pixels;
  }
  const Tensor y = empty_tensor(pooled, dtype());
  backend(test_device()).global_avg_pool_forward(tensor_of(x, x_shape(), dtype(), layout()), y);
  EXPECT_TRUE(close_to(array_of(y), expected, dtype(), pooled));

  const Array dy = normal_array(pooled.numel(), dtype(), 2);
  Array spread(x.size());
  for (size_t i = 0; i < spread.size(); ++i) spread[i] = dy[i / image * channels + i % channels] / pixels;
  const Tensor dx = empty(x_shape(), dtype());
  backend(test_device()).global_avg_pool_backward(tensor_of(dy, pooled, dtype()), dx);
  EXPECT_TRUE(close_to(array_of(dx), Expected::elementwise(spread), dtype(), x_shape()));
}

const auto kName = [](const auto& instance) {
  return std::string(std::get<0>(instance.param).name) + "_" + name_of(std::get<1>(instance.param));
};
INSTANTIATE_TEST_SUITE_P(Shapes, MaxPoolTest,
                         ::testing::Combine(::testing::ValuesIn(kMaxCases), ::testing::ValuesIn(activation_types())),
                         kName);
INSTANTIATE_TEST_SUITE_P(Shapes, AveragePoolTest,
                         ::testing::Combine(::testing::ValuesIn(kAverageCases),
                                            ::testing::ValuesIn(activation_types())),
                         kName);

}  // namespace
}  // namespace engine::testing
