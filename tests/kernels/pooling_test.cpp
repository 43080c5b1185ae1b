// Pooling kernels against plain loops.
#include "kernels/pooling.h"

#include <cmath>
#include <string>

#include "tests/kernels/guarded.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

using namespace kernels;

struct Case {
  const char* name;
  Pool2dShape shape;
};

const Case kCases[] = {{"stem", {2, 12, 14, 64, 3, 2, 1}},         {"odd", {3, 7, 9, 16, 3, 2, 1}},
                       {"ten_channels", {2, 6, 5, 10, 2, 2, 0}},   {"disjoint_windows", {2, 8, 8, 24, 2, 3, 0}},
                       {"one_stride", {1, 6, 6, 40, 3, 1, 1}},     {"whole_image", {2, 7, 7, 96, 7, 7, 0}},
                       {"large_window", {1, 20, 18, 8, 16, 5, 8}}, {"one_pixel", {4, 1, 1, 3, 1, 1, 0}}};

class PoolingTest : public ::testing::TestWithParam<std::tuple<Case, DataType, int64_t>> {
 protected:
  Pool2dShape s = std::get<0>(GetParam()).shape;
  DataType type = std::get<1>(GetParam());
  DType dtype = dtype_of(type);
  int64_t offset = std::get<2>(GetParam());
  int64_t inputs = s.n * s.h * s.w * s.c, outputs = s.n * s.p() * s.q() * s.c;
  Shape x_shape{s.n, s.h, s.w, s.c}, y_shape{s.n, s.p(), s.q(), s.c};
  PoolReference reference{s.n, s.h, s.w, s.c, s.window, s.stride, s.padding};

  Guarded array(const Array& values) const { return Guarded(type, values, offset); }
  Guarded empty(int64_t count) const { return Guarded(type, count, offset); }
};

TEST_P(PoolingTest, MaxAndItsGradient) {
  for (const bool exact : {true, false}) {
    const Array x = exact ? sparse_integers(inputs, 1, 2) : normal_array(inputs, dtype, 1);
    const Array dy = exact ? sparse_integers(outputs, 2, 2) : normal_array(outputs, dtype, 2);
    Array best(static_cast<size_t>(outputs), -INFINITY), where(best.size());
    std::vector<size_t> winner(best.size());
    reference.for_each([&](size_t to, int64_t position, size_t from) {
      if (!(x[from] > best[to])) return;
      best[to] = x[from], where[to] = static_cast<double>(position), winner[to] = from;
    });
    Expected dx{Array(static_cast<size_t>(inputs)), Array(static_cast<size_t>(inputs)), s.window * s.window};
    for (size_t i = 0; i < winner.size(); ++i) dx.value[winner[i]] += dy[i], dx.magnitude[winner[i]] += std::abs(dy[i]);

    const Guarded on_x = array(x), on_dy = array(dy), y = empty(outputs), to_dx = empty(inputs);
    const DeviceBuffer<uint8_t> argmax(static_cast<size_t>(outputs));
    ASSERT_TRUE(max_pool_forward({.shape = s, .type = type, .x = on_x.data(), .y = y.data(), .argmax = argmax.data()},
                                 nullptr));
    EXPECT_TRUE(equal_to(y.values(), best, y_shape));
    const std::vector<uint8_t> positions = argmax.values();
    EXPECT_TRUE(equal_to(Array(positions.begin(), positions.end()), where, y_shape));

    ASSERT_TRUE(max_pool_backward(
        {.shape = s, .type = type, .dy = on_dy.data(), .argmax = argmax.data(), .dx = to_dx.data()}, nullptr));
    EXPECT_TRUE(exact ? equal_to(to_dx.values(), dx.value, x_shape) : close_to(to_dx.values(), dx, dtype, x_shape));
  }
}

TEST_P(PoolingTest, MaxWithoutPositions) {
  const Array x = normal_array(inputs, dtype, 1);
  const Guarded on_x = array(x), with = empty(outputs), without = empty(outputs);
  const DeviceBuffer<uint8_t> argmax(static_cast<size_t>(outputs));
  MaxPoolForward args = {.shape = s, .type = type, .x = on_x.data(), .y = with.data(), .argmax = argmax.data()};
  ASSERT_TRUE(max_pool_forward(args, nullptr));
  args.y = without.data(), args.argmax = nullptr;
  ASSERT_TRUE(max_pool_forward(args, nullptr));
  EXPECT_EQ(without.values(), with.values());
}

TEST_P(PoolingTest, AverageAndItsGradient) {
  const Guarded y = empty(outputs), dx = empty(inputs);
  const auto window = static_cast<double>(s.window * s.window);
  for (const bool exact : {true, false}) {
    // Multiples of the window's size have exact means; 49 = 7 * 7 is no power of two, and 1/49 is rounded.
    const bool equal = exact && (s.window & (s.window - 1)) == 0;
    Array x = exact ? sparse_integers(inputs, 1, 2) : normal_array(inputs, dtype, 1);
    const Array dy = exact ? sparse_integers(outputs, 2, 2) : normal_array(outputs, dtype, 2);
    const Guarded on_x = array(x), on_dy = array(dy);
    const AvgPoolForward forward = {.shape = s, .type = type, .x = on_x.data(), .y = y.data()};
    const AvgPoolBackward backward = {.shape = s, .type = type, .dy = on_dy.data(), .dx = dx.data()};
    if (s.padding != 0) {
      EXPECT_FALSE(avg_pool_forward(forward, nullptr));
      EXPECT_FALSE(avg_pool_backward(backward, nullptr));
      continue;
    }
    Expected mean{Array(static_cast<size_t>(outputs)), Array(static_cast<size_t>(outputs)), s.window * s.window};
    Expected gradient{Array(x.size()), Array(x.size()), s.window * s.window};
    reference.for_each([&](size_t to, int64_t, size_t from) {
      mean.value[to] += x[from] / window, mean.magnitude[to] += std::abs(x[from]) / window;
      gradient.value[from] += dy[to] / window, gradient.magnitude[from] += std::abs(dy[to]) / window;
    });
    ASSERT_TRUE(avg_pool_forward(forward, nullptr));
    ASSERT_TRUE(avg_pool_backward(backward, nullptr));
    EXPECT_TRUE(equal && dtype == DType::f32 ? equal_to(y.values(), mean.value, y_shape)
                                             : close_to(y.values(), mean, dtype, y_shape));
    EXPECT_TRUE(equal && dtype == DType::f32 ? equal_to(dx.values(), gradient.value, x_shape)
                                             : close_to(dx.values(), gradient, dtype, x_shape));
  }
}

TEST_P(PoolingTest, GlobalAverageAndItsGradient) {
  const int64_t pixels = s.h * s.w, means = s.n * s.c;
  const Array x = normal_array(inputs, dtype, 1), dy = normal_array(means, dtype, 2);
  Expected mean{Array(static_cast<size_t>(means)), Array(static_cast<size_t>(means)), pixels};
  Expected gradient{Array(x.size()), {}, 1};
  for (int64_t i = 0; i < inputs; ++i) {
    const auto to = static_cast<size_t>(i / (pixels * s.c) * s.c + i % s.c);
    const double term = x[static_cast<size_t>(i)] / static_cast<double>(pixels);
    mean.value[to] += term, mean.magnitude[to] += std::abs(term);
    gradient.value[static_cast<size_t>(i)] = dy[to] / static_cast<double>(pixels);
  }
  const Guarded on_x = array(x), on_dy = array(dy), y = empty(means), dx = empty(inputs);
  ASSERT_TRUE(global_avg_pool_forward(
      {.n = s.n, .pixels = pixels, .c = s.c, .type = type, .x = on_x.data(), .y = y.data()}, nullptr));
  EXPECT_TRUE(close_to(y.values(), mean, dtype, {s.n, s.c}));
  ASSERT_TRUE(global_avg_pool_backward(
      {.n = s.n, .pixels = pixels, .c = s.c, .type = type, .dy = on_dy.data(), .dx = dx.data()}, nullptr));
  EXPECT_TRUE(close_to(dx.values(), Expected::elementwise(gradient.value), dtype, x_shape));
}

INSTANTIATE_TEST_SUITE_P(Cases, PoolingTest,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(kDataTypes),
                                            ::testing::Values(0, 1)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param)) +
                                  (std::get<2>(instance.param) ? "_misaligned" : "");
                         });

TEST(Pooling, GlobalAverageIsExactWithIntegers) {
  const Array x = sparse_integers(3 * 16 * 24, 1, 2);
  Array expected(3 * 24);
  for (size_t i = 0; i < x.size(); ++i) expected[i / (16 * 24) * 24 + i % 24] += x[i] / 16;
  for (const DataType type : kDataTypes) {
    const Guarded on_x(type, x), y(type, 3 * 24);
    ASSERT_TRUE(global_avg_pool_forward({.n = 3, .pixels = 16, .c = 24, .type = type, .x = on_x.data(), .y = y.data()},
                                        nullptr));
    EXPECT_TRUE(equal_to(y.values(), expected, {3, 24}));
  }
}

// More pixels than the largest grid takes at once.
TEST(Pooling, WalksLargeBatches) {
  const Pool2dShape s = {1100, 5, 5, 63, 2, 1, 0};
  const int64_t inputs = s.n * 25 * s.c, outputs = s.n * 16 * s.c;
  ASSERT_GT(outputs, kMostThreads);
  const Array x = sparse_integers(inputs, 1, 2);
  Array best(static_cast<size_t>(outputs), -INFINITY), mean(best.size()), gradient(x.size());
  std::vector<size_t> winner(best.size());
  PoolReference{s.n, s.h, s.w, s.c, s.window, s.stride, s.padding}.for_each([&](size_t to, int64_t, size_t from) {
    if (x[from] > best[to]) best[to] = x[from], winner[to] = from;
    mean[to] += x[from] / 4;
  });
  for (size_t i = 0; i < winner.size(); ++i) gradient[winner[i]] += best[i];
  const Guarded on_x(DataType::f32, x), y(DataType::f32, outputs), dx(DataType::f32, inputs);
  const DeviceBuffer<uint8_t> argmax(static_cast<size_t>(outputs));
  ASSERT_TRUE(max_pool_forward({.shape = s, .x = on_x.data(), .y = y.data(), .argmax = argmax.data()}, nullptr));
  EXPECT_TRUE(equal_to(y.values(), best, {outputs}));
  ASSERT_TRUE(max_pool_backward({.shape = s, .dy = y.data(), .argmax = argmax.data(), .dx = dx.data()}, nullptr));
  EXPECT_TRUE(equal_to(dx.values(), gradient, {inputs}));
  ASSERT_TRUE(avg_pool_forward({.shape = s, .x = on_x.data(), .y = y.data()}, nullptr));
  EXPECT_TRUE(equal_to(y.values(), mean, {outputs}));
}

// More images than the largest grid has blocks.
TEST(Pooling, GlobalAverageWalksLargeBatches) {
  const int64_t n = 5000, pixels = 2, c = 8;
  const Array x = sparse_integers(n * pixels * c, 1, 2);
  Array means(static_cast<size_t>(n * c)), spread(x.size());
  for (size_t i = 0; i < x.size(); ++i) means[i / 16 * 8 + i % 8] += x[i] / 2;
  for (size_t i = 0; i < x.size(); ++i) spread[i] = means[i / 16 * 8 + i % 8] / 2;
  const Guarded on_x(DataType::f32, x), y(DataType::f32, n * c), dx(DataType::f32, n * pixels * c);
  ASSERT_TRUE(global_avg_pool_forward({.n = n, .pixels = pixels, .c = c, .x = on_x.data(), .y = y.data()}, nullptr));
  EXPECT_TRUE(equal_to(y.values(), means, {n, c}));
  ASSERT_TRUE(global_avg_pool_backward({.n = n, .pixels = pixels, .c = c, .dy = y.data(), .dx = dx.data()}, nullptr));
  EXPECT_TRUE(equal_to(dx.values(), spread, {n, pixels, c}));
}

TEST(Pooling, ANotANumberWinsAndStays) {
  const Array x = {1, std::nan(""), 5, 2};
  for (const DataType type : kDataTypes) {
    const Guarded on_x(type, x), y(type, 1);
    const DeviceBuffer<uint8_t> argmax(1);
    ASSERT_TRUE(max_pool_forward(
        {.shape = {1, 2, 2, 1, 2, 2, 0}, .type = type, .x = on_x.data(), .y = y.data(), .argmax = argmax.data()},
        nullptr));
    EXPECT_TRUE(std::isnan(y.values()[0]));
    EXPECT_EQ(argmax.values()[0], 1);
  }
}

TEST(Pooling, RefusesWhatItCannotDo) {
  const Guarded x = floats(64), y = floats(64);
  EXPECT_FALSE(max_pool_forward({.shape = {1, 32, 32, 1, 17, 1, 0}, .x = x.data(), .y = y.data()}, nullptr))
      << "the position is a byte";
  EXPECT_FALSE(max_pool_forward({.shape = {1, 2, 2, 1, 3, 1, 0}, .x = x.data(), .y = y.data()}, nullptr))
      << "no window fits";
  EXPECT_FALSE(max_pool_forward({.shape = {1, 4, 4, 1, 2, 2, 2}, .x = x.data(), .y = y.data()}, nullptr))
      << "windows of padding alone";
  EXPECT_FALSE(max_pool_backward({.shape = {1, 4, 4, 1, 2, 2, 0}, .dy = x.data(), .dx = y.data()}, nullptr))
      << "no argmax";
  EXPECT_FALSE(avg_pool_forward({.shape = {1 << 20, 64, 64, 1, 2, 2, 0}, .x = x.data(), .y = y.data()}, nullptr))
      << "more pixels than 32 bits count";
  EXPECT_FALSE(global_avg_pool_forward({.n = 1, .pixels = 0, .c = 1, .x = x.data(), .y = y.data()}, nullptr));
  EXPECT_TRUE(std::isnan(y.values()[0])) << "nothing was launched";
}

TEST(Pooling, CountsItsCost) {
  const Pool2dShape s = {1, 4, 4, 8, 2, 2, 0};
  uint8_t position = 0;
  EXPECT_EQ(max_pool_forward_cost({.shape = s, .type = DataType::bf16, .argmax = &position}).bytes, 160 * 2 + 32);
  EXPECT_EQ(max_pool_backward_cost({.shape = s}).bytes, 160 * 4 + 32);
  EXPECT_EQ(avg_pool_forward_cost({.shape = s}).bytes, 160 * 4);
  EXPECT_EQ(avg_pool_backward_cost({.shape = s}).bytes, 160 * 4);
  EXPECT_EQ(global_avg_pool_forward_cost({.n = 2, .pixels = 49, .c = 8, .type = DataType::f16}).bytes, 16 * 50 * 2);
  EXPECT_EQ(global_avg_pool_backward_cost({.n = 2, .pixels = 49, .c = 8}).bytes, 16 * 50 * 4);
}

}  // namespace
}  // namespace engine::testing
