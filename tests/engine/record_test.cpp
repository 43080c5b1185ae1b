// Ops of a user's own, made with record(): their gradients against finite differences of the same formulas in double.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "engine/autograd.h"
#include "engine/ops/elementwise.h"
#include "tests/arrays.h"

namespace {

using namespace engine;
using namespace engine::testing;

Tensor swish(const Tensor& x) {
  const Tensor v = x.detach(), s = sigmoid(v), y = v * s;
  return record(y, {x}, [=](const Tensor& dy) { return Tensors{dy * (s + y * (1 - s))}; });
}

// A bilinear gate of two inputs, one of them a scalar: y = a * sigmoid(b * scale).
Tensor gate(const Tensor& a, const Tensor& b, const Tensor& scale) {
  const Tensor va = a.detach(), vb = b.detach(), vs = scale.detach(), s = sigmoid(vb * vs);
  return record(va * s, {a, b, scale}, [=](const Tensor& dy) {
    const Tensor inner = dy * va * (s * (1 - s));
    return Tensors{dy * s, inner * vs, sum(inner * vb).reshape(vs.shape())};
  });
}

double sigmoid_of(double x) {
  return 1 / (1 + std::exp(-x));
}

using Arrays = std::vector<Array>;

// u . J v for random u and v: by the tape, and by central differences of `reference` in double.
void expect_gradients(const std::function<Tensor(const Tensors&)>& op,
                      const std::function<Array(const Arrays&)>& reference, const Arrays& inputs,
                      const std::vector<Shape>& shapes, int roundings) {
  Tensors leaves;
  for (size_t i = 0; i < inputs.size(); ++i) leaves.push_back(tensor_of(inputs[i], shapes[i]).set_requires_grad(true));
  const Tensor y = op(leaves);
  const Array u = normal_array(y.numel(), DType::f32, 100);
  y.backward(tensor_of(u, y.shape()));

  for (size_t i = 0; i < inputs.size(); ++i) {
    const Array v = normal_array(shapes[i].numel(), DType::f32, 200 + i);
    const Array gradient = array_of(leaves[i].grad());
    double by_tape = 0, magnitude = 0;
    for (size_t j = 0; j < v.size(); ++j) {
      by_tape += gradient[j] * v[j];
      magnitude += std::abs(gradient[j] * v[j]);
    }
    // Truncation error h^2, rounding error 2^-53/h: both far below f32's unit roundoff.
    constexpr double kStep = 1e-5;
    Arrays plus = inputs, minus = inputs;
    for (size_t j = 0; j < v.size(); ++j) {
      plus[i][j] += kStep * v[j];
      minus[i][j] -= kStep * v[j];
    }
    const Array above = reference(plus), below = reference(minus);
    double by_differences = 0, scale = 0;
    for (size_t j = 0; j < u.size(); ++j) {
      by_differences += u[j] * (above[j] - below[j]) / (2 * kStep);
      scale += std::abs(u[j] * above[j]);
    }
    // Each of the op's roundings counts as an elementwise operation; a sum over all elements as one of that length.
    const double terms = static_cast<double>(y.numel());
    const double bound = (8 * roundings + 2 * std::sqrt(terms)) * 0x1p-24 * magnitude + 1e-9 * scale;
    EXPECT_NEAR(by_tape, by_differences, bound) << "input " << i;
  }
}

TEST(Record, SwishMatchesFiniteDifferences) {
  const Shape shape = {5, 7, 3};
  expect_gradients([](const Tensors& x) { return swish(x[0]); },
                   [](const Arrays& x) {
                     Array y = x[0];
                     for (double& value : y) value *= sigmoid_of(value);
                     return y;
                   },
                   {normal_array(shape.numel(), DType::f32, 1, 0, 2)}, {shape}, 6);
}

TEST(Record, SwishOfAReusedTensorMatchesFiniteDifferences) {
  const Shape shape = {64};
  expect_gradients([](const Tensors& x) { return swish(x[0] * x[0]) + swish(x[0]); },
                   [](const Arrays& x) {
                     Array y = x[0];
                     for (double& value : y)
                       value = value * value * sigmoid_of(value * value) + value * sigmoid_of(value);
                     return y;
                   },
                   {normal_array(shape.numel(), DType::f32, 2)}, {shape}, 16);
}

TEST(Record, AnOpOfThreeInputsMatchesFiniteDifferences) {
  const Shape shape = {4, 9};
  expect_gradients([](const Tensors& x) { return gate(x[0], x[1], x[2]); },
                   [](const Arrays& x) {
                     Array y = x[0];
                     for (size_t j = 0; j < y.size(); ++j) y[j] *= sigmoid_of(x[1][j] * x[2][0]);
                     return y;
                   },
                   {normal_array(shape.numel(), DType::f32, 3), normal_array(shape.numel(), DType::f32, 4), {0.75}},
                   {shape, shape, {1}}, 8);
}

TEST(Record, AnExpressionOfEveryElementwiseOpMatchesFiniteDifferences) {
  const Shape shape = {33};
  expect_gradients(
      [](const Tensors& x) { return log(1 + exp(-x[0] * x[1])) / (x[1] * x[1] + 2) - relu(x[0]) * 3 + x[1] / 4; },
      [](const Arrays& x) {
        Array y = x[0];
        for (size_t j = 0; j < y.size(); ++j) {
          const double a = x[0][j], b = x[1][j];
          y[j] = std::log(1 + std::exp(-a * b)) / (b * b + 2) - std::max(a, 0.0) * 3 + b / 4;
        }
        return y;
      },
      {normal_array(shape.numel(), DType::f32, 5), normal_array(shape.numel(), DType::f32, 6)}, {shape, shape}, 24);
}

TEST(Record, WorksInBf16) {
  Tensor x = tensor_of({1.0, -2.0, 0.5}, {3}, DType::bf16).set_requires_grad(true);
  const Tensor y = swish(x);
  EXPECT_EQ(y.dtype(), DType::bf16);
  sum(y).backward();
  EXPECT_EQ(x.grad().dtype(), DType::bf16);
  const Array gradient = array_of(x.grad());
  for (size_t i = 0; i < 3; ++i) {
    const double v = array_of(x)[i], s = sigmoid_of(v), exact = s + v * s * (1 - s);
    EXPECT_NEAR(gradient[i], exact, 6 * 2 * 0x1p-8 * (s + std::abs(v) * s * (1 - s))) << i;
  }
}

TEST(Record, ReturnsThePlainResultWhenNothingRequiresAGradient) {
  const Tensor x = full_tensor({2}, 0);
  const Tensor y = swish(x);
  EXPECT_FALSE(y.requires_grad());
  EXPECT_TRUE(y.is_leaf());
}

}  // namespace
