#include "engine/nn/module.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "engine/nn/layers.h"
#include "engine/ops/elementwise.h"
#include "engine/optim/sgd.h"
#include "tests/engine/error_text.h"

namespace {

using namespace engine;
using engine::testing::error_text;
using ::testing::Each;
using ::testing::ElementsAre;

class Pair : public Module {
 public:
  explicit Pair(RandomStream& random)
      : conv({.in_channels = 3, .out_channels = 4, .kernel = 3}, random), bn(4), fc(4, 2, random) {}
  void visit(ModuleVisitor& visitor) override {
    visitor.module("conv", conv);
    visitor.module("norms.0", bn);
    visitor.module("fc", fc);
    visitor.parameter("scale", scale, ParameterKind::weight);
  }

  Conv2d conv;
  BatchNorm2d bn;
  Linear fc;
  Tensor scale;  // undefined unless set
};

class Outer : public Module {
 public:
  explicit Outer(RandomStream& random) : inner(random) {}
  void visit(ModuleVisitor& visitor) override { visitor.module("inner", inner); }
  Pair inner;
};

RandomStream stream() {
  return {0, 0, 0, purpose::kInitialisation};
}

std::vector<std::string> names(const std::vector<NamedTensor>& state) {
  std::vector<std::string> result;
  for (const NamedTensor& entry : state) result.push_back(entry.name);
  return result;
}

TEST(Module, NamesTheTreeInOrderAndLeavesAbsentTensorsOut) {
  RandomStream random = stream();
  Outer outer(random);
  EXPECT_THAT(names(outer.state()),
              ElementsAre("inner.conv.weight", "inner.norms.0.weight", "inner.norms.0.bias",
                          "inner.norms.0.running_mean", "inner.norms.0.running_var",
                          "inner.norms.0.num_batches_tracked", "inner.fc.weight", "inner.fc.bias"));
}

TEST(Module, ParametersKnowTheirKindAndBuffersAreNone) {
  RandomStream random = stream();
  Pair pair(random);
  pair.scale = Tensor::zeros({1}).set_requires_grad(true);
  std::vector<std::pair<std::string, ParameterKind>> kinds;
  for (const NamedParameter& parameter : pair.parameters()) kinds.emplace_back(parameter.name, parameter.kind);
  EXPECT_THAT(
      kinds,
      ElementsAre(std::pair("conv.weight", ParameterKind::weight), std::pair("norms.0.weight", ParameterKind::norm),
                  std::pair("norms.0.bias", ParameterKind::norm), std::pair("fc.weight", ParameterKind::weight),
                  std::pair("fc.bias", ParameterKind::bias), std::pair("scale", ParameterKind::weight)));
}

TEST(Module, HandlesShareTheModulesTensors) {
  RandomStream random = stream();
  Pair pair(random);
  pair.parameters()[0].tensor.mutable_values<float>()[0] = 42;
  EXPECT_EQ(pair.conv.weight.values<float>()[0], 42);
}

TEST(Module, TrainingModeReachesEveryLevel) {
  RandomStream random = stream();
  Outer outer(random);
  EXPECT_TRUE(outer.inner.bn.training());
  outer.eval();
  EXPECT_FALSE(outer.training());
  EXPECT_FALSE(outer.inner.training());
  EXPECT_FALSE(outer.inner.bn.training());
  outer.train();
  EXPECT_TRUE(outer.inner.bn.training());
}

TEST(Module, ToKeepsTheHandlesOfAnOptimiser) {
  RandomStream random = stream();
  Pair pair(random);
  Sgd sgd(pair.parameters(), {.lr = 1, .momentum = 0});
  pair.to(Device{});
  EXPECT_TRUE(pair.fc.bias.requires_grad());
  const float before = pair.fc.bias.values<float>()[0];
  sum(pair.fc(Tensor::zeros({3, 4}))).backward();
  sgd.step();
  EXPECT_EQ(pair.fc.bias.values<float>()[0], before - 3);
}

TEST(Module, CanBeMoved) {
  RandomStream random = stream();
  Pair pair(random);
  const Tensor weight = pair.conv.weight;
  Pair moved = std::move(pair);
  EXPECT_EQ(moved.parameters()[0].tensor.body(), weight.body());
}

TEST(BatchNorm2d, StartsAsTheIdentityOfNormalisedData) {
  const BatchNorm2d bn(3);
  EXPECT_THAT(bn.bn.gamma.to_vector<float>(), Each(1.0f));
  EXPECT_THAT(bn.bn.beta.to_vector<float>(), Each(0.0f));
  EXPECT_THAT(bn.bn.running_mean.to_vector<float>(), Each(0.0f));
  EXPECT_THAT(bn.bn.running_var.to_vector<float>(), Each(1.0f));
  EXPECT_EQ(bn.num_batches_tracked.dtype(), DType::i64);
  EXPECT_EQ(bn.num_batches_tracked.shape(), Shape{});
  EXPECT_FALSE(bn.bn.running_mean.requires_grad());
}

TEST(BatchNorm2d, CountsBatchesInTrainingOnly) {
  BatchNorm2d bn(2);
  const Tensor x = Tensor::zeros({2, 2, 2, 2});
  bn(x);
  bn(x);
  EXPECT_EQ(bn.num_batches_tracked.item(), 2);
  bn.eval();
  bn(x);
  EXPECT_EQ(bn.num_batches_tracked.item(), 2);
}

TEST(Conv2d, RefusesGroupsThatDoNotDivide) {
  RandomStream random = stream();
  EXPECT_EQ(error_text([&] { Conv2d({.in_channels = 6, .out_channels = 8, .groups = 4}, random); }),
            "Conv2d: 6 and 8 channels must be multiples of groups=4");
}

TEST(Conv2d, WithoutRandomNumbersHasTheSameForm) {
  RandomStream random = stream();
  const Conv2dSpec spec = {.in_channels = 4, .out_channels = 6, .kernel = 3, .groups = 2, .bias = true};
  const Conv2d drawn(spec, random), unset(spec);
  EXPECT_EQ(unset.weight.shape(), drawn.weight.shape());
  EXPECT_EQ(unset.bias.shape(), drawn.bias.shape());
  EXPECT_TRUE(unset.weight.requires_grad() && unset.bias.requires_grad());
}

}  // namespace
