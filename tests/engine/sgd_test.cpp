// The optimiser: which parameters it moves, with which decay, and what it keeps. The rule itself is tested per backend.
#include "engine/optim/sgd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/ops/elementwise.h"
#include "engine/storage.h"
#include "tests/device.h"
#include "tests/engine/error_text.h"

namespace {

using namespace engine;
using engine::testing::error_text;

// One element named `name`, with gradients set by hand.
NamedParameter parameter(const char* name, float value, ParameterKind kind = ParameterKind::weight) {
  Tensor tensor = Tensor::from(std::vector<float>{value}, {1}, engine::testing::test_device());
  tensor.set_requires_grad(true);
  return {name, tensor, kind};
}

void set_grad(NamedParameter& parameter, float grad) {
  parameter.tensor.set_grad(Tensor::from(std::vector<float>{grad}, {1}, engine::testing::test_device()));
}

class SgdCase : public ::testing::TestWithParam<SgdOptions> {};

// Three steps on a weight, a norm's parameter and a bias, against the formula in double.
TEST_P(SgdCase, FollowsTheFormula) {
  const SgdOptions& o = GetParam();
  std::vector<NamedParameter> parameters = {parameter("w", 1), parameter("g", 2, ParameterKind::norm),
                                            parameter("b", -3, ParameterKind::bias)};
  const double decay[] = {o.weight_decay, o.norm_weight_decay.value_or(o.weight_decay),
                          o.bias_weight_decay.value_or(o.weight_decay)};
  Sgd sgd(parameters, o);
  double value[] = {1, 2, -3}, momentum[3] = {};
  for (int step = 0; step < 3; ++step) {
    for (size_t i = 0; i < 3; ++i) {
      const double grad = 0.25 * (step + 1) - 0.5 * static_cast<double>(i);
      set_grad(parameters[i], static_cast<float>(grad));
      const double d = grad + decay[i] * value[i];
      momentum[i] = step == 0 ? d : double{o.momentum} * momentum[i] + d;
      value[i] -= double{o.lr} * (o.nesterov ? d + double{o.momentum} * momentum[i] : momentum[i]);
    }
    sgd.step();
    // A handful of roundings a step, of values up to 4.
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(parameters[i].tensor.item(), value[i], (step + 1) * 8 * 4 * 0x1p-24) << "step " << step << ", " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Sgd, SgdCase,
                         ::testing::Values(SgdOptions{.lr = 0.1f, .momentum = 0},
                                           SgdOptions{.lr = 0.1f, .momentum = 0, .weight_decay = 0.3f},
                                           SgdOptions{.lr = 0.05f, .momentum = 0.9f, .weight_decay = 0.1f},
                                           SgdOptions{
                                               .lr = 0.05f, .momentum = 0.9f, .nesterov = true, .weight_decay = 0.1f},
                                           SgdOptions{.lr = 0.1f,
                                                      .momentum = 0.5f,
                                                      .weight_decay = 0.2f,
                                                      .norm_weight_decay = 0.0f,
                                                      .bias_weight_decay = 0.05f}));

TEST(Sgd, LeavesAParameterWithoutAGradientAlone) {
  std::vector<NamedParameter> parameters = {parameter("used", 1), parameter("unused", 1)};
  Sgd sgd(parameters, {.lr = 0.5f, .momentum = 0.9f, .weight_decay = 0.1f});
  set_grad(parameters[0], 1);
  sgd.step();
  EXPECT_NE(parameters[0].tensor.item(), 1);
  EXPECT_EQ(parameters[1].tensor.item(), 1);
  EXPECT_EQ(sgd.state().size(), 1u);
}

TEST(Sgd, AParameterThatComesLaterTakesItsOwnFirstStep) {
  std::vector<NamedParameter> parameters = {parameter("early", 0), parameter("late", 0)};
  Sgd sgd(parameters, {.lr = 1, .momentum = 0.5f});
  set_grad(parameters[0], 1);
  sgd.step();
  set_grad(parameters[0], 1);
  set_grad(parameters[1], 1);
  sgd.step();
  EXPECT_EQ(parameters[0].tensor.item(), -2.5);  // 1, then 0.5 * 1 + 1
  EXPECT_EQ(parameters[1].tensor.item(), -1);
}

// m = d at first, to the last bit: a zero keeps its sign (with p < 0; 0 * p is +0 otherwise).
TEST(Sgd, TheFirstMomentumIsTheGradient) {
  std::vector<NamedParameter> parameters = {parameter("plus", -1), parameter("minus", -1), parameter("tiny", -1)};
  Sgd sgd(parameters, {.lr = 1, .momentum = 0.9f});
  const float gradients[] = {0.0f, -0.0f, -1e-45f};
  for (size_t i = 0; i < 3; ++i) set_grad(parameters[i], gradients[i]);
  sgd.step();
  for (size_t i = 0; i < 3; ++i) {
    const auto momentum = static_cast<float>(sgd.state()[i].tensor.item());
    EXPECT_EQ(std::signbit(momentum), std::signbit(gradients[i])) << i;
    EXPECT_EQ(momentum, gradients[i]) << i;
  }
}

TEST(Sgd, GradientsAccumulateBetweenSteps) {
  std::vector<NamedParameter> parameters = {parameter("x", 8)};
  Sgd sgd(parameters, {.lr = 0.25f, .momentum = 0});
  (parameters[0].tensor * parameters[0].tensor).backward();
  (parameters[0].tensor * parameters[0].tensor).backward();
  sgd.step();
  EXPECT_EQ(parameters[0].tensor.item(), 0);  // 8 - 0.25 * 2 * 16
  EXPECT_FALSE(parameters[0].tensor.grad().defined());
}

TEST(Sgd, TheRateCanChangeBetweenSteps) {
  std::vector<NamedParameter> parameters = {parameter("x", 0)};
  Sgd sgd(parameters, {.lr = 1, .momentum = 0});
  set_grad(parameters[0], 1);
  sgd.step();
  sgd.set_lr(0.125f);
  EXPECT_EQ(sgd.lr(), 0.125f);
  set_grad(parameters[0], 1);
  sgd.step();
  EXPECT_EQ(parameters[0].tensor.item(), -1.125);
}

TEST(Sgd, ReadsItsControlsOnTheDevice) {
  const Device device = engine::testing::test_device();
  std::vector<NamedParameter> parameters = {parameter("x", 1)};
  Sgd sgd(parameters, {.lr = 9, .momentum = 0.5f});
  const StepControl stopped = {.lr = Tensor::scalar(0.5, {DType::f32, device}),
                               .found = Tensor::full({}, 2, {DType::i64, device})};
  set_grad(parameters[0], 1);
  sgd.step(stopped);
  EXPECT_EQ(parameters[0].tensor.item(), 1);
  EXPECT_FALSE(parameters[0].tensor.grad().defined());
  set_grad(parameters[0], 1);
  sgd.step({.lr = stopped.lr, .found = Tensor::zeros({}, {DType::i64, device})});
  EXPECT_EQ(parameters[0].tensor.item(), 0.5) << "the first step that is taken";
}

TEST(Sgd, MultipliesGradientsByAFactorOnTheDevice) {
  std::vector<NamedParameter> parameters = {parameter("x", 1)};
  Sgd sgd(parameters, {.lr = 1, .momentum = 0.5f, .weight_decay = 0.5f});
  set_grad(parameters[0], 4);
  sgd.step({.grad_scale = Tensor::scalar(0.25, {DType::f32, engine::testing::test_device()})});
  EXPECT_EQ(parameters[0].tensor.item(), -0.5) << "1 - (4 * 0.25 + 0.5 * 1)";
  EXPECT_EQ(sgd.state()[0].tensor.item(), 1.5);
}

TEST(Sgd, ItsVersionTellsOfNewBuffers) {
  std::vector<NamedParameter> parameters = {parameter("x", 1)};
  Sgd sgd(parameters, {});
  set_grad(parameters[0], 1);
  sgd.step();
  const uint64_t before = sgd.version();
  set_grad(parameters[0], 1);
  sgd.step();
  EXPECT_EQ(sgd.version(), before);
  sgd.load_state(sgd.state());
  EXPECT_NE(sgd.version(), before);
}

TEST(Sgd, ChangesTheVersionOfAParameter) {
  std::vector<NamedParameter> parameters = {parameter("x", 1)};
  Sgd sgd(parameters, {});
  const uint64_t before = parameters[0].tensor.storage().version();
  set_grad(parameters[0], 1);
  sgd.step();
  EXPECT_GT(parameters[0].tensor.storage().version(), before);
}

TEST(Sgd, StateCarriesOnBitForBit) {
  const SgdOptions options = {.lr = 0.1f, .momentum = 0.9f, .weight_decay = 0.01f};
  std::vector<NamedParameter> whole = {parameter("x", 1)}, resumed = {parameter("x", 1)};
  Sgd unbroken(whole, options), before(resumed, options);
  EXPECT_TRUE(before.state().empty());
  const auto step = [](Sgd& sgd, std::vector<NamedParameter>& parameters, float grad) {
    set_grad(parameters[0], grad);
    sgd.step();
  };
  for (const float grad : {0.3f, -0.7f, 0.11f, 0.9f}) step(unbroken, whole, grad);
  for (const float grad : {0.3f, -0.7f}) step(before, resumed, grad);
  Sgd after(resumed, options);
  after.load_state(before.state());
  for (const float grad : {0.11f, 0.9f}) step(after, resumed, grad);
  EXPECT_EQ(resumed[0].tensor.item(), whole[0].tensor.item());
}

TEST(Sgd, LoadedStateIsACopy) {
  std::vector<NamedParameter> parameters = {parameter("x", 1)};
  Sgd sgd(parameters, {});
  Tensor momentum = Tensor::from(std::vector<float>{3}, {1});
  sgd.load_state({{"momentum_buffer.x", momentum}});
  momentum.mutable_values<float>()[0] = 7;
  EXPECT_EQ(sgd.state()[0].tensor.item(), 3);
}

TEST(SgdErrors, Options) {
  const std::vector<NamedParameter> parameters = {parameter("x", 1)};
  EXPECT_EQ(error_text([] { Sgd({}, {}); }), "Sgd: there are no parameters to optimise");
  EXPECT_EQ(error_text([&] { Sgd(parameters, {.momentum = 1}); }), "Sgd: momentum=1, expected 0 <= momentum < 1");
  EXPECT_EQ(error_text([&] { Sgd(parameters, {.momentum = -0.5f}); }),
            "Sgd: momentum=-0.5, expected 0 <= momentum < 1");
  EXPECT_EQ(error_text([&] { Sgd(parameters, {.momentum = 0, .nesterov = true}); }),
            "Sgd: nesterov needs a momentum above 0");
}

TEST(SgdErrors, StateOfAnotherModel) {
  Sgd sgd({parameter("x", 1)}, {});
  EXPECT_EQ(error_text(
                [&] {
                  sgd.load_state({{"momentum_buffer.y", Tensor::zeros({1})}});
                },
                ErrorKind::checkpoint),
            "Sgd::load_state: momentum_buffer.y is nothing that this optimiser keeps for this model; was it saved with "
            "another --opt?");
  EXPECT_EQ(error_text(
                [&] {
                  sgd.load_state({{"momentum_buffer.x", Tensor::zeros({2})}});
                },
                ErrorKind::checkpoint),
            "Sgd::load_state: momentum_buffer.x has shape [2], expected [1]");
}

}  // namespace
