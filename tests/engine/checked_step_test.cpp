#include "engine/train/checked_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "engine/ops/elementwise.h"
#include "engine/optim/sgd.h"
#include "tests/compare.h"
#include "tests/engine/error_text.h"

namespace {

using namespace engine;
using namespace engine::testing;
using ::testing::HasSubstr;

// Two parameters, and a loss that gives them the gradients [3] and [0,4] times a factor.
struct Problem {
  std::vector<NamedParameter> parameters = {{"a", tensor_of({1}, {1}).set_requires_grad(true)},
                                            {"b", tensor_of({2, 3}, {2}).set_requires_grad(true)}};
  Sgd sgd{parameters, {.lr = 1, .momentum = 0}};

  Tensor loss(float factor = 1) const {
    return sum(parameters[0].tensor * tensor_of({3 * factor}, {1})) +
           sum(parameters[1].tensor * tensor_of({0, 4 * factor}, {2}));
  }
  Array values() const {
    Array all = array_of(parameters[0].tensor);
    for (const double value : array_of(parameters[1].tensor)) all.push_back(value);
    return all;
  }
  // Where a step along the gradient times `factor` leads from the start.
  static Expected after(double factor) { return Expected::elementwise({1 - 3 * factor, 2, 3 - 4 * factor}); }
};

TEST(CheckedStep, ClipsByTheNormOfAll) {
  Problem problem;
  CheckedStep checked(problem.parameters, {.max_norm = 2});
  checked.backward(problem.loss());
  EXPECT_TRUE(checked.step(problem.sgd));
  EXPECT_EQ(checked.norm(), 5);
  EXPECT_TRUE(close_to(problem.values(), Problem::after(2 / (5 + 1e-6)), DType::f32, {3}));
  EXPECT_FALSE(problem.parameters[0].tensor.grad().defined());
}

TEST(CheckedStep, LeavesSmallGradientsAndAddsThemUp) {
  Problem problem;
  CheckedStep checked(problem.parameters, {.max_norm = 100});
  checked.backward(problem.loss());
  checked.backward(problem.loss());
  EXPECT_TRUE(checked.step(problem.sgd));
  EXPECT_EQ(checked.norm(), 10);
  EXPECT_EQ(problem.values(), Problem::after(2).value);
}

// The scale is a power of two: nothing is rounded by it.
TEST(CheckedStep, TakesTheScaleOutAgain) {
  Problem problem;
  CheckedStep checked(problem.parameters, {.scale_loss = true});
  checked.backward(problem.loss());
  EXPECT_EQ(problem.parameters[0].tensor.grad().item(), 3 * 65536.0);
  EXPECT_TRUE(checked.step(problem.sgd));
  EXPECT_EQ(checked.norm(), 5);
  EXPECT_EQ(problem.values(), Problem::after(1).value);
  EXPECT_EQ(checked.loss_scale().good_steps, 1);
}

TEST(CheckedStep, LeavesOutAStepWhoseScaleWasTooLarge) {
  Problem problem;
  CheckedStep checked(problem.parameters, {.scale_loss = true});
  checked.backward(problem.loss(1e35f));
  EXPECT_FALSE(checked.step(problem.sgd));
  EXPECT_EQ(problem.values(), Problem::after(0).value);
  EXPECT_FALSE(problem.parameters[1].tensor.grad().defined());
  EXPECT_EQ(checked.loss_scale().scale, 32768);
  checked.backward(problem.loss());
  EXPECT_TRUE(checked.step(problem.sgd));
  EXPECT_EQ(problem.values(), Problem::after(1).value);
}

TEST(CheckedStep, SaysWhichGradientIsNotFinite) {
  Problem problem;
  CheckedStep checked(problem.parameters);
  problem.parameters[0].tensor.set_grad(tensor_of({1}, {1}));
  problem.parameters[1].tensor.set_grad(tensor_of({0, std::numeric_limits<double>::infinity()}, {2}));
  EXPECT_THAT(error_text([&] { checked.step(problem.sgd); }, ErrorKind::diverged),
              HasSubstr("the gradient of b is not finite; use a lower learning rate"));
  EXPECT_EQ(problem.values(), Problem::after(0).value);
}

TEST(CheckedStep, GivesUpWhenTheScaleDoesNotHelp) {
  Problem problem;
  CheckedStep checked(problem.parameters, {.scale_loss = true});
  checked.set_loss_scale({.scale = 1, .overflows = kMaxOverflows});
  problem.parameters[0].tensor.set_grad(tensor_of({std::numeric_limits<double>::quiet_NaN()}, {1}));
  EXPECT_THAT(error_text([&] { checked.step(problem.sgd); }, ErrorKind::diverged),
              HasSubstr("the gradient of a is not finite, whatever the loss is scaled by"));
}

TEST(CheckedStep, RefusesAStepWithoutGradients) {
  Problem problem;
  CheckedStep checked(problem.parameters);
  EXPECT_THAT(error_text([&] { checked.step(problem.sgd); }), HasSubstr("no parameter has a gradient"));
  EXPECT_THAT(error_text([&] { CheckedStep(problem.parameters, {.max_norm = -1}); }), HasSubstr("max_norm is -1"));
}

}  // namespace
