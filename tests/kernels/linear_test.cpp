// The classifier's matrix products against double precision.
#include "kernels/linear.h"

#include <cmath>
#include <string>

#include "tests/kernels/guarded.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

using namespace kernels;

struct Case {
  const char* name;
  LinearShape shape;
};

const Case kCases[] = {{"one", {1, 1, 1}},           {"cifar", {9, 64, 10}},        {"tiles", {128, 96, 64}},
                       {"wide", {5, 512, 136}},      {"odd", {67, 65, 33}},         {"long_inner", {3, 1000, 8}},
                       {"many_rows", {200, 24, 72}}, {"few_channels", {70, 8, 130}}};

class LinearTest : public ::testing::TestWithParam<std::tuple<Case, DataType, int64_t>> {
 protected:
  LinearShape s = std::get<0>(GetParam()).shape;
  DataType type = std::get<1>(GetParam());
  DType dtype = dtype_of(type);
  int64_t offset = std::get<2>(GetParam());

  // Sums of integers stay below 2^8, which even bf16 holds.
  Array values(int64_t count, uint64_t seed, bool exact) const {
    return exact ? sparse_integers(count, seed, 4) : normal_array(count, dtype, seed);
  }
  Guarded array(const Array& x) const { return Guarded(type, x, offset); }
  static double at(const Array& x, int64_t i, int64_t j, int64_t columns) {
    return x[static_cast<size_t>(i * columns + j)];
  }
  ::testing::AssertionResult matches(const Guarded& result, const Expected& expected, bool exact, DType stored,
                                     const Shape& shape) const {
    return exact ? equal_to(result.values(), expected.value, shape)
                 : close_to(result.values(), expected, stored, shape);
  }
};

TEST_P(LinearTest, Forward) {
  for (const bool exact : {true, false})
    for (const bool with_bias : {true, false}) {
      const Array x = values(s.n * s.c, 1, exact), w = values(s.k * s.c, 2, exact);
      const Array bias = exact ? sparse_integers(s.k, 3, 2) : normal_array(s.k, DType::f32, 3);
      Expected expected = product(
          s.n, s.c, s.k, [&](int64_t i, int64_t j) { return at(x, i, j, s.c); },
          [&](int64_t i, int64_t j) { return at(w, j, i, s.c); });
      if (with_bias)
        for (size_t i = 0; i < expected.value.size(); ++i) {
          expected.value[i] += bias[i % bias.size()];
          expected.magnitude[i] += std::abs(bias[i % bias.size()]);
        }
      const Guarded on_x = array(x), on_w = array(w), on_bias = floats_of(bias), y(type, s.n * s.k, offset);
      ASSERT_TRUE(linear_forward({.shape = s,
                                  .type = type,
                                  .x = on_x.data(),
                                  .w = on_w.data(),
                                  .bias = with_bias ? on_bias.floats() : nullptr,
                                  .y = y.data()},
                                 nullptr));
      EXPECT_TRUE(matches(y, expected, exact, dtype, {s.n, s.k}));
    }
}

TEST_P(LinearTest, BackwardData) {
  for (const bool exact : {true, false}) {
    const Array dy = values(s.n * s.k, 1, exact), w = values(s.k * s.c, 2, exact);
    const Expected expected = product(
        s.n, s.k, s.c, [&](int64_t i, int64_t j) { return at(dy, i, j, s.k); },
        [&](int64_t i, int64_t j) { return at(w, i, j, s.c); });
    const Guarded on_dy = array(dy), on_w = array(w), dx(type, s.n * s.c, offset);
    ASSERT_TRUE(linear_backward_data({.shape = s, .type = type, .dy = on_dy.data(), .w = on_w.data(), .dx = dx.data()},
                                     nullptr));
    EXPECT_TRUE(matches(dx, expected, exact, dtype, {s.n, s.c}));
  }
}

TEST_P(LinearTest, BackwardWeights) {
  for (const bool exact : {true, false}) {
    const Array x = values(s.n * s.c, 1, exact), dy = values(s.n * s.k, 2, exact);
    const Expected expected = product(
        s.k, s.n, s.c, [&](int64_t i, int64_t j) { return at(dy, j, i, s.k); },
        [&](int64_t i, int64_t j) { return at(x, i, j, s.c); });
    const Guarded on_x = array(x), on_dy = array(dy), dw = floats(s.k * s.c, offset);
    ASSERT_TRUE(linear_backward_weights(
        {.shape = s, .type = type, .x = on_x.data(), .dy = on_dy.data(), .dw = dw.floats()}, nullptr));
    EXPECT_TRUE(matches(dw, expected, exact, DType::f32, {s.k, s.c}));
  }
}

TEST_P(LinearTest, ColumnSum) {
  for (const bool exact : {true, false}) {
    const Array x = values(s.n * s.k, 1, exact);
    const Guarded on_x = array(x), y = floats(s.k);
    const Guarded workspace = floats(static_cast<int64_t>(column_sum_workspace(s.n, s.k) / sizeof(float)));
    ASSERT_TRUE(column_sum(
        {.type = type, .rows = s.n, .channels = s.k, .x = on_x.data(), .y = y.floats(), .workspace = workspace.data()},
        nullptr));
    EXPECT_TRUE(matches(y, channel_sums(x, s.k), exact, DType::f32, {s.k}));
    EXPECT_FALSE(workspace.values().empty()) << "also looks at its guards";
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, LinearTest,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(kDataTypes),
                                            ::testing::Values(0, 1)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param)) +
                                  (std::get<2>(instance.param) ? "_misaligned" : "");
                         });

TEST(Linear, RefusesEmptyAndMissingOperands) {
  const Guarded x = floats(16), y = floats(16);
  EXPECT_FALSE(linear_forward({.shape = {0, 4, 4}, .x = x.data(), .w = x.data(), .y = y.data()}, nullptr));
  EXPECT_FALSE(linear_forward({.shape = {4, 4, 4}, .x = x.data(), .y = y.data()}, nullptr));
  EXPECT_FALSE(linear_backward_data({.shape = {4, 0, 4}, .dy = x.data(), .w = x.data(), .dx = y.data()}, nullptr));
  EXPECT_FALSE(linear_backward_weights({.shape = {4, 4, 4}, .x = x.data(), .dw = y.floats()}, nullptr));
  EXPECT_FALSE(column_sum({.rows = 4, .channels = 4, .x = x.data(), .y = y.floats()}, nullptr)) << "no workspace";
  EXPECT_TRUE(std::isnan(y.values()[0])) << "nothing was launched";
}

TEST(Linear, CountsItsCost) {
  const LinearShape s = {2, 3, 5};
  EXPECT_EQ(linear_forward_cost({.shape = s, .type = DataType::bf16}).bytes, 2 * (6 + 15 + 10));
  EXPECT_EQ(linear_forward_cost({.shape = s}).flops, 60);
  EXPECT_EQ(linear_backward_data_cost({.shape = s}).bytes, 4 * (6 + 15 + 10));
  EXPECT_EQ(linear_backward_weights_cost({.shape = s, .type = DataType::f16}).bytes, 2 * (6 + 10) + 4 * 15);
  EXPECT_EQ(column_sum_cost({.type = DataType::bf16, .rows = 7, .channels = 3}).bytes, 54);
}

}  // namespace
}  // namespace engine::testing
