#include "engine/gradient_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/autograd.h"
#include "engine/ops/conv.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/norm.h"
#include "tests/arrays.h"
#include "tests/engine/error_text.h"

namespace {

using namespace engine;
using namespace engine::testing;
using ::testing::HasSubstr;

Tensor random_tensor(const Shape& shape, uint64_t seed, double scale = 1) {
  Array values = normal_array(shape.numel(), DType::f32, seed);
  for (double& v : values) v *= scale;
  return tensor_of(values, shape);
}

// v * sigmoid(v), whose recorded gradient is multiplied by `factor`.
Tensor swish(const Tensor& x, float factor = 1) {
  const Tensor v = x.detach(), s = sigmoid(v), y = v * s;
  return record(y, {x}, [=](const Tensor& dy) { return Tensors{factor * (dy * (s + y * (1 - s)))}; });
}

TEST(CheckGradients, AcceptsTheLibrarysOwn) {
  const Tensor x = random_tensor({2, 5, 5, 4}, 1), w = random_tensor({3, 3, 3, 4}, 2), b = random_tensor({3}, 3);
  check_gradients([](const Tensors& in) { return conv2d(in[0], in[1], in[2], {.padding = 1}); }, {x, w, b});
  check_gradients([](const Tensors& in) { return linear(in[0], in[1], in[2]); },
                  {random_tensor({3, 4}, 4), random_tensor({2, 4}, 5), random_tensor({2}, 6)});
  check_gradients([](const Tensors& in) { return exp(in[0]) / (in[1] * in[1] + 1); },
                  {random_tensor({7}, 7), random_tensor({7}, 8)});
  check_gradients(
      [](const Tensors& in) {
        const BatchNormState bn = {
            .gamma = in[1], .beta = in[2], .running_mean = full_tensor({4}, 0), .running_var = full_tensor({4}, 1)};
        return batch_norm(in[0], bn);
      },
      {x, random_tensor({4}, 9), random_tensor({4}, 10)});
}

// Whatever the size of the numbers.
TEST(CheckGradients, AcceptsSmallAndLargeInputs) {
  for (const double scale : {1e-4, 1e4})
    check_gradients([](const Tensors& in) { return in[0] * in[1]; },
                    {random_tensor({50}, 1, scale), random_tensor({50}, 2, scale)});
}

TEST(CheckGradients, FindsAForgottenFactor) {
  const Tensor x = random_tensor({40}, 1);
  check_gradients([](const Tensors& in) { return swish(in[0]); }, {x});
  for (const float factor : {0.0f, 0.99f, -1.0f, 2.0f})
    EXPECT_THAT(error_text([&] { check_gradients([&](const Tensors& in) { return swish(in[0], factor); }, {x}); }),
                HasSubstr("along a random direction of input 0 [40] the derivative is"))
        << factor;
}

TEST(CheckGradients, NamesTheInput) {
  const auto product = [](const Tensors& in) {
    const Tensor a = in[0].detach(), b = in[1].detach();
    return record(a * b, {in[0], in[1]}, [=](const Tensor& dy) { return Tensors{dy * b, dy * b}; });
  };
  EXPECT_THAT(error_text([&] {
                check_gradients(product, {random_tensor({9}, 1), random_tensor({9}, 2)});
              }),
              HasSubstr("direction of input 1 [9]"));
}

TEST(CheckGradients, FindsAMissingGradient) {
  const auto half = [](const Tensors& in) { return in[0] * in[1].detach(); };
  EXPECT_THAT(error_text([&] {
                check_gradients(half, {random_tensor({9}, 1), random_tensor({9}, 2)});
              }),
              HasSubstr("direction of input 1 [9] the derivative is 0 by the tape"));
}

TEST(CheckGradients, SaysWhatItCannotJudge) {
  const Tensor x = random_tensor({3}, 1);
  EXPECT_THAT(error_text([&] { check_gradients([](const Tensors& in) { return in[0].detach(); }, {x}); }),
              HasSubstr("no input leads to the result; is it recorded?"));
  EXPECT_THAT(error_text([&] { check_gradients([](const Tensors& in) { return -in[0]; }, {x.to(DType::bf16)}); }),
              HasSubstr("input 0 is undefined or not f32"));
  EXPECT_THAT(error_text([&] { check_gradients([](const Tensors& in) { return in[0].to(DType::bf16); }, {x}); }),
              HasSubstr("the result holds bf16, expected f32"));
}

TEST(CheckGradients, LeavesTheInputsAlone) {
  Tensor x = random_tensor({3}, 1).set_requires_grad(true);
  const Array before = array_of(x);
  check_gradients([](const Tensors& in) { return exp(in[0]); }, {x});
  EXPECT_EQ(array_of(x), before);
  EXPECT_FALSE(x.grad().defined());
}

}  // namespace
