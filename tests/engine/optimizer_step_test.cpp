// Every backend's steps, and its look at the gradients before them, against double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "tests/optimizer_reference.h"

namespace engine::testing {
namespace {

Tensor steps_taken(int64_t count) {
  return Tensor::full({}, static_cast<double>(count), {DType::i64, test_device()});
}

struct Case {
  const char* name;
  OptimizerRule rule;
  float weight_decay = 0;
};

class OptimizerStepTest : public ::testing::TestWithParam<Case> {};

// Three tensors of different sizes in one step, in the middle of a training.
TEST_P(OptimizerStepTest, FollowsTheRule) {
  const Case& c = GetParam();
  const float lr = 0.1f, scale = 0.5f;
  const bool moments = c.rule.has_moments(), has_momentum = moments || c.rule.momentum != 0;
  std::vector<OptimizerParameter> parameters;
  std::vector<OptimizerReference> references;
  for (const int64_t count : {int64_t{1}, int64_t{17}, int64_t{40'000}}) {
    const auto seed = static_cast<uint64_t>(count);
    const Array p = normal_array(count, DType::f32, seed), g = normal_array(count, DType::f32, seed + 1);
    const Array m = has_momentum ? normal_array(count, DType::f32, seed + 2) : Array{};
    Array v = moments ? normal_array(count, DType::f32, seed + 3) : Array{};
    for (double& x : v) x = rounded(x * x, DType::f32);
    references.emplace_back(c.rule, double{lr}, double{c.weight_decay}, p, m, v, 6);
    references.back().step(g, double{scale});
    parameters.push_back({.parameter = tensor_of(p, {count}),
                          .grad = tensor_of(g, {count}),
                          .momentum = has_momentum ? tensor_of(m, {count}) : Tensor{},
                          .second_moment = moments ? tensor_of(v, {count}) : Tensor{},
                          .weight_decay = c.weight_decay});
  }
  const Tensor steps = moments ? steps_taken(6) : Tensor{};
  backend(test_device())
      .optimizer_step(parameters,
                      {.rule = c.rule, .lr = lr, .steps = steps, .grad_scale = full_tensor({}, double{scale})});
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Shape& shape = parameters[i].parameter.shape();
    SCOPED_TRACE(::testing::Message() << shape);
    EXPECT_TRUE(close_to(array_of(parameters[i].parameter), references[i].parameter(), DType::f32, shape));
    if (has_momentum) {
      EXPECT_TRUE(close_to(array_of(parameters[i].momentum), references[i].momentum(), DType::f32, shape));
    }
    if (moments) {
      EXPECT_TRUE(close_to(array_of(parameters[i].second_moment), references[i].second_moment(), DType::f32, shape));
    }
  }
  if (moments) {
    EXPECT_EQ(steps.item(), 7);
  }
}

constexpr OptimizerKind kSgd = OptimizerKind::sgd, kLars = OptimizerKind::lars, kAdamW = OptimizerKind::adamw,
                        kLamb = OptimizerKind::lamb;

INSTANTIATE_TEST_SUITE_P(Rules, OptimizerStepTest,
                         ::testing::Values(Case{"plain", {.kind = kSgd}}, Case{"decay", {.kind = kSgd}, 0.01f},
                                           Case{"momentum", {.kind = kSgd, .momentum = 0.9f}},
                                           Case{"both", {.kind = kSgd, .momentum = 0.9f}, 0.01f},
                                           Case{"nesterov", {.kind = kSgd, .momentum = 0.9f, .nesterov = true}, 0.01f},
                                           Case{"lars", {.kind = kLars, .momentum = 0.9f}, 0.01f},
                                           Case{"lars_without_decay", {.kind = kLars, .momentum = 0.9f}},
                                           Case{"lars_without_momentum", {.kind = kLars}, 0.01f},
                                           Case{"adamw", {.kind = kAdamW}, 0.01f},
                                           Case{"adamw_without_decay", {.kind = kAdamW}},
                                           Case{"lamb", {.kind = kLamb, .eps = 1e-6f}, 0.01f},
                                           Case{"lamb_without_decay", {.kind = kLamb, .eps = 1e-6f}}),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(OptimizerStep, GivesEachParameterItsOwnDecay) {
  const OptimizerParameter decayed = {
      .parameter = full_tensor({3}, 1), .grad = full_tensor({3}, 0), .weight_decay = 0.5f};
  const OptimizerParameter other = {
      .parameter = full_tensor({2, 2}, 1), .grad = full_tensor({2, 2}, 0), .weight_decay = 0};
  backend(test_device()).optimizer_step(std::vector{decayed, other}, {.lr = 0.5f});
  EXPECT_EQ(array_of(decayed.parameter), Array(3, 0.75));
  EXPECT_EQ(array_of(other.parameter), Array(4, 1.0));
}

// A bias that starts at zero has to be able to leave it, and a gradient of zeros must not divide by zero.
TEST(OptimizerStep, TakesNoRatioOfZero) {
  for (const OptimizerKind kind : {kLars, kLamb})
    for (const double p : {0.0, 1.0}) {
      SCOPED_TRACE(::testing::Message() << "kind " << static_cast<int>(kind) << ", parameter " << p);
      const double g = p == 0 ? 1 : 0;
      const OptimizerParameter parameter = {.parameter = full_tensor({3}, p),
                                            .grad = full_tensor({3}, g),
                                            .momentum = full_tensor({3}, -0.0),
                                            .second_moment = full_tensor({3}, 0),
                                            .weight_decay = 0x1p-10f};
      const OptimizerRule rule = {.kind = kind, .eps = 0x1p-20f};
      backend(test_device())
          .optimizer_step(std::vector{parameter}, {.rule = rule, .lr = 0.25f, .steps = steps_taken(0)});
      OptimizerReference reference(rule, 0.25, 0x1p-10, Array(3, p));
      reference.step(Array(3, g));
      EXPECT_TRUE(close_to(array_of(parameter.parameter), reference.parameter(), DType::f32, {3}));
    }
}

TEST(OptimizerStep, ReadsTheRateAndTheCheckOnTheDevice) {
  const OptimizerParameter parameter = {
      .parameter = full_tensor({3}, 1), .grad = full_tensor({3}, 1), .momentum = full_tensor({3}, 2)};
  const Tensor lr = full_tensor({}, 0.25), found = Tensor::full({}, 1, {DType::i64, test_device()});
  const OptimizerStep step = {.rule = {.momentum = 0.5f}, .lr = 9, .device_lr = lr, .found = found};
  backend(test_device()).optimizer_step(std::vector{parameter}, step);
  EXPECT_EQ(array_of(parameter.parameter), Array(3, 1.0)) << "something is not finite";
  EXPECT_EQ(array_of(parameter.momentum), Array(3, 2.0));
  Tensor(found).copy_from(Tensor::zeros({}, {DType::i64, test_device()}));
  backend(test_device()).optimizer_step(std::vector{parameter}, step);
  EXPECT_EQ(array_of(parameter.parameter), Array(3, 0.5));
  EXPECT_EQ(array_of(parameter.momentum), Array(3, 2.0));
}

// --- the look at the gradients ---

struct Checked {
  int64_t found;
  double norm, grad_scale;
};

Checked check_gradients(const Tensors& gradients, float max_norm = 0, const Tensor& loss = {},
                        const Tensor& unscale = {}) {
  const Tensor found = steps_taken(-1), norm = full_tensor({}, -1), scale = full_tensor({}, -1);
  backend(test_device())
      .check_gradients({.gradients = gradients,
                        .loss = loss,
                        .unscale = unscale,
                        .max_norm = max_norm,
                        .found = found,
                        .norm = norm,
                        .grad_scale = scale});
  return {static_cast<int64_t>(found.item()), norm.item(), scale.item()};
}

TEST(CheckGradients, MeasuresTheNormOfAllTogether) {
  Tensors gradients;
  double sum = 0;
  int64_t terms = 0;
  for (const int64_t count : {int64_t{1}, int64_t{4099}, int64_t{50'000}}) {
    const Array values = normal_array(count, DType::f32, static_cast<uint64_t>(count));
    for (const double v : values) sum += v * v;
    terms += count;
    gradients.push_back(tensor_of(values, {count}));
  }
  const Checked checked = check_gradients(gradients);
  EXPECT_EQ(checked.found, 0);
  EXPECT_TRUE(close_to({checked.norm}, {{std::sqrt(sum)}, {std::sqrt(sum)}, terms}, DType::f32, {1}));
  EXPECT_EQ(checked.grad_scale, 1) << "nothing to clip";
}

TEST(CheckGradients, GivesTheFactorThatClips) {
  const Tensors gradients = {full_tensor({9}, 1), full_tensor({16}, -1)};  // of norm 5
  EXPECT_EQ(check_gradients(gradients, 5.5f).grad_scale, 1);
  const Expected clipped = Expected::elementwise({0.5 / (5 + 1e-6)});
  EXPECT_TRUE(close_to({check_gradients(gradients, 0.5f).grad_scale}, clipped, DType::f32, {1}));
}

TEST(CheckGradients, UnscalesFirst) {
  const Tensors gradients = {full_tensor({25}, 1024)};
  const Checked whole = check_gradients(gradients, 6, {}, full_tensor({}, 0x1p-10));
  EXPECT_EQ(whole.norm, 5);
  EXPECT_EQ(whole.grad_scale, 0x1p-10);
  const Expected clipped = Expected::elementwise({0x1p-10 * 2.5 / (5 + 1e-6)});
  EXPECT_TRUE(
      close_to({check_gradients(gradients, 2.5f, {}, full_tensor({}, 0x1p-10)).grad_scale}, clipped, DType::f32, {1}));
}

TEST(CheckGradients, NamesTheFirstThatIsNotFinite) {
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::nan("");
  Array last(5000, 1);
  last.back() = nan;
  const Tensors fine = {full_tensor({3}, 1), full_tensor({3}, 1)};
  EXPECT_EQ(check_gradients({fine[0], full_tensor({3}, infinity), fine[1]}).found, 2);
  EXPECT_EQ(check_gradients({fine[0], full_tensor({3}, -infinity), tensor_of(last, {5000})}).found, 2);
  EXPECT_EQ(check_gradients({fine[0], tensor_of(last, {5000})}).found, 1);
  EXPECT_EQ(check_gradients(fine, 0, full_tensor({}, nan)).found, 1) << "the loss comes last";
  EXPECT_EQ(check_gradients({fine[0], full_tensor({3}, nan)}, 0, full_tensor({}, infinity)).found, 2);
  EXPECT_EQ(check_gradients(fine, 0, full_tensor({}, 100)).found, 0);
}

TEST(CheckGradients, TheLossIsNoPartOfTheNorm) {
  EXPECT_EQ(check_gradients({full_tensor({16}, 1)}, 0, full_tensor({}, 1000)).norm, 4);
}

// Squares overflow long before numbers do.
TEST(CheckGradients, LargeNumbersAreFinite) {
  EXPECT_EQ(check_gradients({full_tensor({40}, 1e30)}).found, 0);
}

}  // namespace
}  // namespace engine::testing
