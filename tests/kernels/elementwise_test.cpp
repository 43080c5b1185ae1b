// Elementwise kernels against double precision, with and without vectors, in place and not.
#include "kernels/elementwise.h"

#include <cmath>
#include <functional>

#include "tests/kernels/guarded.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

using namespace kernels;

using Parameters = std::tuple<DataType, int64_t, int64_t>;  // type, elements, misalignment

class ElementwiseTest : public ::testing::TestWithParam<Parameters> {
 protected:
  DataType type = std::get<0>(GetParam());
  DType dtype = dtype_of(type);
  int64_t count = std::get<1>(GetParam()), offset = std::get<2>(GetParam());

  Array random(uint64_t seed) const { return normal_array(count, dtype, seed); }
  Array integers(uint64_t seed) const { return sparse_integers(count, seed, 2); }
  Guarded array(const Array& values) const { return Guarded(type, values, offset); }
  Guarded empty() const { return Guarded(type, count, offset); }

  Expected reference(const Array& a, const Array& b, const std::function<double(double, double)>& f) const {
    Expected expected{Array(a.size()), Array(a.size()), 1};
    for (size_t i = 0; i < a.size(); ++i) {
      expected.value[i] = f(a[i], b[b.size() == 1 ? 0 : i]);
      expected.magnitude[i] = std::abs(expected.value[i]);
    }
    return expected;
  }
  Expected reference(const Array& x, const std::function<double(double)>& f) const {
    return reference(x, x, [&](double a, double) { return f(a); });
  }
  ::testing::AssertionResult close(const Guarded& y, const Expected& expected) const {
    return close_to(y.values(), expected, dtype, {count});
  }
};

TEST_P(ElementwiseTest, Unary) {
  const std::tuple<UnaryOp, std::function<double(double)>> ops[] = {
      {UnaryOp::relu, [](double x) { return std::max(x, 0.0); }},
      {UnaryOp::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }},
      {UnaryOp::exp, [](double x) { return std::exp(x); }},
      {UnaryOp::log, [](double x) { return std::log(x); }},
      {UnaryOp::negate, [](double x) { return -x; }}};
  for (const auto& [op, f] : ops) {
    Array x = random(1);
    if (op == UnaryOp::log)
      for (double& v : x) v = std::abs(v) + 0.125, v = rounded(v, dtype);
    const Guarded from = array(x), y = empty();
    ASSERT_TRUE(unary({.op = op, .type = type, .count = count, .x = from.data(), .y = y.data()}, nullptr));
    EXPECT_TRUE(close(y, reference(x, f))) << "operation " << static_cast<int>(op);
    ASSERT_TRUE(unary({.op = op, .type = type, .count = count, .x = from.data(), .y = from.data()}, nullptr));
    EXPECT_EQ(from.values(), y.values()) << "in place";
  }
}

TEST_P(ElementwiseTest, Binary) {
  const std::tuple<BinaryOp, std::function<double(double, double)>> ops[] = {{BinaryOp::add, std::plus<>()},
                                                                             {BinaryOp::subtract, std::minus<>()},
                                                                             {BinaryOp::multiply, std::multiplies<>()},
                                                                             {BinaryOp::divide, std::divides<>()}};
  for (const auto& [op, f] : ops)
    for (const int64_t b_count : {count, int64_t{1}}) {
      const Array a = random(1);
      Array b = random(2);
      b.resize(static_cast<size_t>(b_count));
      const Guarded from = array(a), other = array(b), y = empty();
      Binary args = {.op = op,
                     .type = type,
                     .count = count,
                     .b_count = b_count,
                     .a = from.data(),
                     .b = other.data(),
                     .y = y.data()};
      ASSERT_TRUE(binary(args, nullptr));
      EXPECT_TRUE(close(y, reference(a, b, f))) << "operation " << static_cast<int>(op);
      args.y = from.data();
      ASSERT_TRUE(binary(args, nullptr));
      EXPECT_EQ(from.values(), y.values()) << "in place of a";
      if (b_count == 1) continue;
      const Guarded again = array(a);
      args.a = again.data(), args.y = other.data();
      ASSERT_TRUE(binary(args, nullptr));
      EXPECT_EQ(other.values(), y.values()) << "in place of b";
    }
}

TEST_P(ElementwiseTest, ExactWithIntegers) {
  const Array a = integers(1), b = integers(2);
  const Guarded from = array(a), other = array(b), y = empty();
  const auto run = [&](BinaryOp op) {
    return binary(
        {.op = op, .type = type, .count = count, .b_count = count, .a = from.data(), .b = other.data(), .y = y.data()},
        nullptr);
  };
  ASSERT_TRUE(run(BinaryOp::add));
  EXPECT_TRUE(equal_to(y.values(), reference(a, b, std::plus<>()).value, {count}));
  ASSERT_TRUE(run(BinaryOp::multiply));
  EXPECT_TRUE(equal_to(y.values(), reference(a, b, std::multiplies<>()).value, {count}));
  ASSERT_TRUE(add_relu({.type = type, .count = count, .a = from.data(), .b = other.data(), .y = y.data()}, nullptr));
  EXPECT_TRUE(
      equal_to(y.values(), reference(a, b, [](double u, double v) { return std::max(u + v, 0.0); }).value, {count}));
}

TEST_P(ElementwiseTest, Affine) {
  const Array x = random(1);
  const float scale = -1.75f, shift = 0.3f;
  const Guarded from = array(x), y = empty();
  ASSERT_TRUE(
      affine({.type = type, .count = count, .x = from.data(), .scale = scale, .shift = shift, .y = y.data()}, nullptr));
  Expected expected = reference(x, [=](double v) { return scale * v + shift; });
  for (size_t i = 0; i < x.size(); ++i) expected.magnitude[i] = std::abs(scale * x[i]) + shift;
  EXPECT_TRUE(close(y, expected));
  ASSERT_TRUE(affine({.type = type, .count = count, .x = from.data(), .scale = scale, .shift = shift, .y = from.data()},
                     nullptr));
  EXPECT_EQ(from.values(), y.values()) << "in place";
}

TEST_P(ElementwiseTest, AddReluAndItsGradient) {
  const Array a = random(1), b = random(2), dy = random(3);
  const Guarded from = array(a), other = array(b), gradient = array(dy), y = empty(), dx = empty();
  AddRelu forward = {.type = type, .count = count, .a = from.data(), .b = other.data(), .y = y.data()};
  ASSERT_TRUE(add_relu(forward, nullptr));
  EXPECT_TRUE(close(y, reference(a, b, [](double u, double v) { return std::max(u + v, 0.0); })));
  ReluBackward backward = {.type = type, .count = count, .dy = gradient.data(), .y = y.data(), .dx = dx.data()};
  ASSERT_TRUE(relu_backward(backward, nullptr));
  EXPECT_TRUE(equal_to(dx.values(), reference(dy, y.values(), [](double g, double v) { return v > 0 ? g : 0.0; }).value,
                       {count}));

  forward.y = other.data();
  ASSERT_TRUE(add_relu(forward, nullptr));
  EXPECT_EQ(other.values(), y.values()) << "in place of b";
  backward.dx = gradient.data();
  ASSERT_TRUE(relu_backward(backward, nullptr));
  EXPECT_EQ(gradient.values(), dx.values()) << "in place of dy";
}

TEST_P(ElementwiseTest, Sum) {
  const Guarded workspace = floats(static_cast<int64_t>(sum_workspace(count) / sizeof(float))), y = floats(1);
  for (const bool exact : {true, false}) {
    const Array x = exact ? integers(1) : random(1);
    const Guarded from = array(x);
    ASSERT_TRUE(
        sum({.type = type, .count = count, .x = from.data(), .y = y.floats(), .workspace = workspace.data()}, nullptr));
    const Expected expected = channel_sums(x, 1);
    EXPECT_TRUE(exact ? equal_to(y.values(), expected.value, {1}) : close_to(y.values(), expected, DType::f32, {1}));
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ElementwiseTest,
                         ::testing::Combine(::testing::ValuesIn(kDataTypes),
                                            ::testing::Values(1, 7, 8, 1000, 4097, 35000), ::testing::Values(0, 1)),
                         [](const auto& instance) {
                           return name_of(std::get<0>(instance.param)) + "_" +
                                  std::to_string(std::get<1>(instance.param)) +
                                  (std::get<2>(instance.param) ? "_misaligned" : "");
                         });

// More elements than the largest grid has threads.
TEST(Elementwise, WalksLargeArrays) {
  const int64_t count = kMostThreads + 1000;
  const Array a = sparse_integers(count, 1, 2), b = sparse_integers(count, 2, 2);
  Array negated(a), sums(a);
  for (size_t i = 0; i < a.size(); ++i) negated[i] = -a[i], sums[i] = std::max(a[i] + b[i], 0.0);
  const Guarded from(DataType::bf16, a, 1), other(DataType::bf16, b, 1), y(DataType::bf16, count, 1);
  ASSERT_TRUE(
      unary({.op = UnaryOp::negate, .type = DataType::bf16, .count = count, .x = from.data(), .y = y.data()}, nullptr));
  EXPECT_TRUE(equal_to(y.values(), negated, {count}));
  ASSERT_TRUE(
      add_relu({.type = DataType::bf16, .count = count, .a = from.data(), .b = other.data(), .y = y.data()}, nullptr));
  EXPECT_TRUE(equal_to(y.values(), sums, {count}));
}

TEST(Elementwise, LetsANotANumberPass) {
  const Array x = {std::nan(""), -1, 1, -INFINITY};
  for (const DataType type : kDataTypes) {
    const Guarded from(type, x), y(type, 4);
    ASSERT_TRUE(unary({.op = UnaryOp::relu, .type = type, .count = 4, .x = from.data(), .y = y.data()}, nullptr));
    const Array values = y.values();
    EXPECT_TRUE(std::isnan(values[0]));
    EXPECT_EQ(Array(values.begin() + 1, values.end()), (Array{0, 1, 0}));
  }
}

TEST(Elementwise, SumsNothingToZero) {
  const Guarded y = floats(1);
  ASSERT_TRUE(sum({.type = DataType::bf16, .count = 0, .y = y.floats()}, nullptr));
  EXPECT_EQ(y.values(), Array{0});
}

TEST(Elementwise, DoesNothingWithNoElements) {
  EXPECT_TRUE(unary({.count = 0}, nullptr));
  EXPECT_TRUE(add_relu({.count = 0}, nullptr));
}

TEST(Elementwise, RefusesWhatItCannotDo) {
  const Guarded x = floats(4), y = floats(4);
  EXPECT_FALSE(unary({.count = 4, .x = x.data()}, nullptr)) << "no y";
  EXPECT_FALSE(unary({.type = static_cast<DataType>(9), .count = 4, .x = x.data(), .y = y.data()}, nullptr));
  EXPECT_FALSE(unary({.count = -1, .x = x.data(), .y = y.data()}, nullptr));
  EXPECT_FALSE(binary({.count = 4, .b_count = 2, .a = x.data(), .b = x.data(), .y = y.data()}, nullptr));
  EXPECT_FALSE(binary({.count = 4, .b_count = 1, .a = x.data(), .b = y.data(), .y = y.data()}, nullptr));
  EXPECT_FALSE(sum({.count = 4, .x = x.data(), .y = y.floats()}, nullptr)) << "no workspace";
  EXPECT_TRUE(std::isnan(y.values()[0])) << "nothing was launched";
}

TEST(Elementwise, CountsItsCost) {
  EXPECT_EQ(add_relu_cost({.type = DataType::bf16, .count = 10}).bytes, 60);
  EXPECT_EQ(binary_cost({.type = DataType::f32, .count = 10, .b_count = 1}).bytes, 84);
  EXPECT_EQ(sum_cost({.type = DataType::f16, .count = 10}).bytes, 24);
  EXPECT_EQ(unary_cost({.type = DataType::bf16, .count = 10}).bytes, 40);
  EXPECT_EQ(affine_cost({.type = DataType::f32, .count = 10}).flops, 20);
  EXPECT_EQ(relu_backward_cost({.type = DataType::f16, .count = 10}).bytes, 60);
}

}  // namespace
}  // namespace engine::testing
