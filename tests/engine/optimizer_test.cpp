// Every optimiser against PyTorch's and timm's numbers, and what it keeps from step to step. What all have in common is
// tested with Sgd.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/optim/adamw.h"
#include "engine/optim/layerwise.h"
#include "engine/optim/sgd.h"
#include "tests/engine/error_text.h"
#include "tests/optimizer_reference.h"

namespace engine::testing {
namespace {

using Json = nlohmann::json;
using Make = std::function<std::unique_ptr<Optimizer>(std::vector<NamedParameter>)>;

// The kinds of write_optimizer_goldens.py's parameters.
const std::map<std::string, ParameterKind> kKinds = {
    {"w", ParameterKind::weight}, {"gamma", ParameterKind::norm}, {"b", ParameterKind::bias}};

struct Case {
  const char* name;  // in the goldens
  OptimizerRule rule;
  double lr;
  Make make;
};

template <class Type, class Options>
Make make(Options options) {
  return [options](std::vector<NamedParameter> parameters) {
    return std::make_unique<Type>(std::move(parameters), options);
  };
}

constexpr float kDecay = 0.125f, kNone = 0;

std::vector<Case> cases() {
  const auto sgd = [](float momentum, bool nesterov, float other) {
    return make<Sgd>(SgdOptions{.lr = 0.25f,
                                .momentum = momentum,
                                .nesterov = nesterov,
                                .weight_decay = kDecay,
                                .norm_weight_decay = other,
                                .bias_weight_decay = other});
  };
  const auto lars = [](float momentum, bool nesterov, float other) {
    return make<Lars>(LarsOptions{.lr = 4,
                                  .momentum = momentum,
                                  .nesterov = nesterov,
                                  .weight_decay = kDecay,
                                  .norm_weight_decay = other,
                                  .bias_weight_decay = other,
                                  .trust = 0.015625f});
  };
  const auto adamw = [](float other) {
    return make<AdamW>(AdamWOptions{.lr = 0.0625f,
                                    .beta1 = 0.875f,
                                    .beta2 = 0.96875f,
                                    .weight_decay = kDecay,
                                    .norm_weight_decay = other,
                                    .bias_weight_decay = other});
  };
  const auto lamb = [](float other) {
    return make<Lamb>(LambOptions{.lr = 0.0625f,
                                  .beta1 = 0.875f,
                                  .beta2 = 0.96875f,
                                  .weight_decay = kDecay,
                                  .norm_weight_decay = other,
                                  .bias_weight_decay = other});
  };
  const OptimizerRule momentum = {.kind = OptimizerKind::sgd, .momentum = 0.875f};
  const OptimizerRule nesterov = {.kind = OptimizerKind::sgd, .momentum = 0.875f, .nesterov = true};
  const OptimizerRule of_lars = {.kind = OptimizerKind::lars, .momentum = 0.875f, .trust = 0.015625f};
  OptimizerRule lars_nesterov = of_lars, lars_plain = of_lars;
  lars_nesterov.nesterov = true;
  lars_plain.momentum = 0;
  const OptimizerRule of_adamw = {.kind = OptimizerKind::adamw, .beta1 = 0.875f, .beta2 = 0.96875f, .eps = 1e-8f};
  const OptimizerRule of_lamb = {.kind = OptimizerKind::lamb, .beta1 = 0.875f, .beta2 = 0.96875f, .eps = 1e-6f};
  return {{"sgd", {}, 0.25, sgd(0, false, kDecay)},
          {"sgd_momentum", momentum, 0.25, sgd(0.875f, false, kDecay)},
          {"sgd_nesterov", nesterov, 0.25, sgd(0.875f, true, kNone)},
          {"sgd_clipped", momentum, 0.25, sgd(0.875f, false, kNone)},
          {"adamw", of_adamw, 0.0625, adamw(kDecay)},
          {"adamw_clipped", of_adamw, 0.0625, adamw(kNone)},
          {"lars", of_lars, 4, lars(0.875f, false, kNone)},
          {"lars_nesterov", lars_nesterov, 4, lars(0.875f, true, kDecay)},
          {"lars_plain", lars_plain, 4, lars(0, false, kDecay)},
          {"lamb", of_lamb, 0.0625, lamb(kNone)},
          {"lamb_every", of_lamb, 0.0625, lamb(kDecay)},
          {"lamb_clipped", of_lamb, 0.0625, lamb(kNone)}};
}

const Json& goldens() {
  static const Json json = Json::parse(std::ifstream(ENGINE_GOLDEN_DIR "/optimizers.json"));
  return json;
}

Shape shape_of(const std::string& name) {
  const auto axes = goldens().at("shapes").at(name).get<std::vector<int64_t>>();
  return axes.size() == 1 ? Shape{axes[0]} : Shape{axes[0], axes[1]};
}

NamedParameter named(const std::string& name, const Array& values) {
  Tensor tensor = tensor_of(values, shape_of(name));
  tensor.set_requires_grad(true);
  return {name, tensor, kKinds.at(name)};
}

// PyTorch's factor; 1 if nothing is to be clipped.
double clip_factor(const Json& gradients, double max_norm) {
  double sum = 0;
  for (const Json& values : gradients)
    for (const double v : values) sum += v * v;
  return max_norm == 0 ? 1 : std::min(1.0, max_norm / (std::sqrt(sum) + 1e-6));
}

class Goldens : public ::testing::TestWithParam<Case> {
 protected:
  const Json& golden_ = goldens().at("cases").at(GetParam().name);
  const double max_norm_ = golden_.at("max_norm").get<double>();
};

// timm's clipping adds no 1e-6 to the norm, and an eps is a float32 here.
TEST_P(Goldens, TheReferenceIsTheirs) {
  for (const auto& [name, kind] : kKinds) {
    SCOPED_TRACE(name);
    OptimizerReference reference(GetParam().rule, GetParam().lr, golden_.at("decays").at(name),
                                 golden_.at("start").at(name));
    for (size_t t = 0; t < golden_.at("gradients").size(); ++t) {
      const Json& gradients = golden_.at("gradients")[t];
      reference.step(gradients.at(name), clip_factor(gradients, max_norm_));
      EXPECT_TRUE(
          close_to(golden_.at("after")[t].at(name).get<Array>(), reference.parameter(), DType::f32, shape_of(name)));
    }
  }
}

// Gradients pass through the check that a training step does, which clips.
TEST_P(Goldens, AreReached) {
  const Device device = test_device();
  std::vector<NamedParameter> parameters;
  std::vector<OptimizerReference> references;
  for (const auto& [name, kind] : kKinds) {
    parameters.push_back(named(name, golden_.at("start").at(name)));
    references.emplace_back(GetParam().rule, GetParam().lr, golden_.at("decays").at(name),
                            golden_.at("start").at(name));
  }
  const std::unique_ptr<Optimizer> optimizer = GetParam().make(parameters);
  const Tensor found = Tensor::zeros({}, {DType::i64, device}), norm = full_tensor({}, 0), scale = full_tensor({}, 0);
  for (const Json& gradients : golden_.at("gradients")) {
    Tensors on_device;
    for (NamedParameter& p : parameters) {
      on_device.push_back(tensor_of(gradients.at(p.name), shape_of(p.name)));
      p.tensor.set_grad(on_device.back());
    }
    backend(device).check_gradients({.gradients = on_device,
                                     .max_norm = static_cast<float>(max_norm_),
                                     .found = found,
                                     .norm = norm,
                                     .grad_scale = scale});
    optimizer->step({.grad_scale = scale, .found = found});
    for (size_t i = 0; i < parameters.size(); ++i) {
      references[i].step(gradients.at(parameters[i].name), clip_factor(gradients, max_norm_));
      EXPECT_TRUE(
          close_to(array_of(parameters[i].tensor), references[i].parameter(), DType::f32, shape_of(parameters[i].name)))
          << parameters[i].name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, Goldens, ::testing::ValuesIn(cases()),
                         [](const auto& instance) { return std::string(instance.param.name); });

// --- what they keep ---

class Keeping : public ::testing::TestWithParam<Case> {
 protected:
  static void set_grads(std::vector<NamedParameter>& parameters, int step) {
    for (NamedParameter& p : parameters)
      p.tensor.set_grad(
          tensor_of(normal_array(p.tensor.numel(), DType::f32, static_cast<uint64_t>(100 + step)), p.tensor.shape()));
  }
  static std::vector<NamedParameter> some_parameters() {
    return {named("w", normal_array(15, DType::f32, 1)), named("gamma", Array(4, 1.0)), named("b", Array(3, 0.0))};
  }
  static std::vector<Array> values(const std::vector<NamedParameter>& parameters, const Optimizer& optimizer) {
    std::vector<Array> result;
    for (const NamedParameter& p : parameters) result.push_back(array_of(p.tensor));
    for (const NamedTensor& kept : optimizer.state())
      result.push_back(kept.tensor.dtype() == DType::i64 ? Array{kept.tensor.item()} : array_of(kept.tensor));
    return result;
  }
};

TEST_P(Keeping, StateCarriesOnBitForBit) {
  std::vector<NamedParameter> whole = some_parameters(), parts = some_parameters();
  const std::unique_ptr<Optimizer> unbroken = GetParam().make(whole), before = GetParam().make(parts);
  for (int step = 0; step < 5; ++step) set_grads(whole, step), unbroken->step();
  for (int step = 0; step < 2; ++step) set_grads(parts, step), before->step();
  const std::unique_ptr<Optimizer> after = GetParam().make(parts);
  after->load_state(before->state());
  for (int step = 2; step < 5; ++step) set_grads(parts, step), after->step();
  EXPECT_EQ(values(parts, *after), values(whole, *unbroken));
}

TEST_P(Keeping, AStepThatIsSkippedLeavesNothingBehind) {
  std::vector<NamedParameter> skipping = some_parameters(), straight = some_parameters();
  const std::unique_ptr<Optimizer> a = GetParam().make(skipping), b = GetParam().make(straight);
  const Tensor found = Tensor::full({}, 3, {DType::i64, test_device()});
  for (int step = 0; step < 3; ++step) {
    set_grads(skipping, 50), a->step({.found = found});
    set_grads(skipping, step), a->step();
    set_grads(straight, step), b->step();
  }
  EXPECT_EQ(values(skipping, *a), values(straight, *b));
}

TEST_P(Keeping, ItsVersionStaysOnceAllIsThere) {
  std::vector<NamedParameter> parameters = some_parameters();
  const std::unique_ptr<Optimizer> optimizer = GetParam().make(parameters);
  set_grads(parameters, 0), optimizer->step();
  const uint64_t version = optimizer->version();
  set_grads(parameters, 1), optimizer->step();
  EXPECT_EQ(optimizer->version(), version);
  optimizer->load_state(optimizer->state());
  EXPECT_NE(optimizer->version(), version);
}

INSTANTIATE_TEST_SUITE_P(Optimizers, Keeping, ::testing::ValuesIn(cases()),
                         [](const auto& instance) { return std::string(instance.param.name); });

std::vector<std::string> names(const Optimizer& optimizer) {
  std::vector<std::string> result;
  for (const NamedTensor& kept : optimizer.state()) result.push_back(kept.name);
  return result;
}

TEST(Optimizers, KeepWhatPyTorchKeepsUnderItsNames) {
  std::vector<NamedParameter> parameters = {named("b", Array(3, 1.0))};
  AdamW adamw(parameters, {});
  Lamb lamb(parameters, {});
  Lars lars(parameters, {}), plain(parameters, {.momentum = 0});
  for (Optimizer* optimizer : std::initializer_list<Optimizer*>{&adamw, &lamb, &lars, &plain}) {
    parameters[0].tensor.set_grad(full_tensor({3}, 1));
    EXPECT_THAT(names(*optimizer), ::testing::IsEmpty());
    optimizer->step();
  }
  EXPECT_THAT(names(adamw), ::testing::ElementsAre("exp_avg.b", "exp_avg_sq.b", "step"));
  EXPECT_THAT(names(lamb), ::testing::ElementsAre("exp_avg.b", "exp_avg_sq.b", "step"));
  EXPECT_THAT(names(lars), ::testing::ElementsAre("momentum_buffer.b"));
  EXPECT_THAT(names(plain), ::testing::IsEmpty());
  EXPECT_EQ(adamw.state()[2].tensor.item(), 1);
}

TEST(OptimizerErrors, TheStateOfAnotherOptimiser) {
  std::vector<NamedParameter> parameters = {named("b", Array(3, 1.0))};
  AdamW adamw(parameters, {});
  Sgd sgd(parameters, {});
  EXPECT_EQ(error_text(
                [&] {
                  adamw.load_state({{"momentum_buffer.b", Tensor::zeros({3})}});
                },
                ErrorKind::checkpoint),
            "AdamW::load_state: momentum_buffer.b is nothing that this optimiser keeps for this model; was it saved "
            "with another --opt?");
  EXPECT_EQ(error_text(
                [&] {
                  sgd.load_state({{"step", Tensor::zeros({}, {.dtype = DType::i64})}});
                },
                ErrorKind::checkpoint),
            "Sgd::load_state: step is nothing that this optimiser keeps for this model; was it saved with another "
            "--opt?");
}

TEST(OptimizerErrors, Options) {
  const std::vector<NamedParameter> parameters = {named("b", Array(3, 1.0))};
  EXPECT_EQ(error_text([&] { AdamW(parameters, {.beta1 = 1}); }), "AdamW: beta1=1, expected 0 <= beta1 < 1");
  EXPECT_EQ(error_text([&] { Lamb(parameters, {.beta2 = -1}); }), "Lamb: beta2=-1, expected 0 <= beta2 < 1");
  EXPECT_EQ(error_text([&] { Lamb(parameters, {.eps = 0}); }), "Lamb: eps=0, expected a number above 0");
  EXPECT_EQ(error_text([&] { Lars(parameters, {.momentum = 2}); }), "Lars: momentum=2, expected 0 <= momentum < 1");
  EXPECT_EQ(error_text([&] { Lars(parameters, {.trust = 0}); }), "Lars: trust=0, expected a number above 0");
  EXPECT_EQ(error_text([&] { Lars(parameters, {.momentum = 0, .nesterov = true}); }),
            "Lars: nesterov needs a momentum above 0");
}

}  // namespace
}  // namespace engine::testing
