#include "bench/roofline.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace engine::bench {
namespace {

// One H200: 790 TFLOP/s in bf16, 4.3 TB/s, batch 256 of 224x224.
constexpr Ceilings kH200 = {.bytes_per_s = 4.3e12, .flops_per_s = 790e12, .dtype = DType::bf16};

models::ResNet net(const std::string& name, int64_t classes = 1000) {
  return models::make_resnet(name, {.num_classes = classes, .initialize = false});
}

struct Golden {
  const char* model;
  Regime regime;
  double flops, bytes, seconds;
};

// By an independent program with the same model and constants.
constexpr Golden kGoldens[] = {
    {"resnet18", Regime::unfused, 2725993512960, 27779971712, 0.008566195462360437},
    {"resnet18", Regime::fused_norm, 2725993512960, 21520439296, 0.007110490249337182},
    {"resnet18", Regime::epilogues, 2725993512960, 14251914224, 0.0051820426181991164},
    {"resnet18", Regime::prologues, 2725993512960, 13481210864, 0.005002809278664233},
    {"resnet18", Regime::gradient_prologues, 2725993512960, 11798508528, 0.004479433112652342},
    {"resnet50", Regime::unfused, 6220563873792, 122653645440, 0.031585626378158635},
    {"resnet50", Regime::fused_norm, 6220563873792, 95742973952, 0.02532733068327486},
    {"resnet50", Regime::epilogues, 6220563873792, 69711736816, 0.01900555382721788},
    {"resnet50", Regime::prologues, 6220563873792, 66346332144, 0.01822290157791555},
    {"resnet50", Regime::gradient_prologues, 6220563873792, 60244930544, 0.016533948127114492},
    {"resnet18_intro", Regime::unfused, 4698994114560, 46423389824, 0.014759185102201706},
    {"resnet18_intro", Regime::fused_norm, 4698994114560, 38007054336, 0.01280189777941101},
    {"resnet18_intro", Regime::epilogues, 4698994114560, 21742738288, 0.00863875829696886},
    {"resnet18_intro", Regime::prologues, 4698994114560, 20972034928, 0.008459524957433977},
    {"resnet18_intro", Regime::gradient_prologues, 4698994114560, 18647079792, 0.0075930837032110714},
};

class TrainingFloor : public ::testing::TestWithParam<Golden> {};

TEST_P(TrainingFloor, EqualsTheIndependentProgram) {
  const Golden& golden = GetParam();
  const auto kernels = training_kernels(roofline_net(net(golden.model), 256, 224), golden.regime, DType::bf16);
  OpCost sum;
  for (const RooflineKernel& kernel : kernels) {
    sum.flops += kernel.cost.flops;
    sum.read += kernel.cost.bytes();
  }
  EXPECT_DOUBLE_EQ(sum.flops, golden.flops);
  EXPECT_NEAR(sum.read / golden.bytes, 1, 1e-12);
  EXPECT_NEAR(floor_seconds(kernels, kH200) / golden.seconds, 1, 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Family, TrainingFloor, ::testing::ValuesIn(kGoldens), [](const auto& test) {
  return std::string(test.param.model) + "_" + name_of(test.param.regime);
});

// Images a second, to three digits, as counted by hand.
TEST(InferenceFloor, HasEverythingInTheEpilogues) {
  const auto rate = [](const char* model) {
    return 256 / floor_seconds(inference_kernels(roofline_net(net(model), 256, 224), DType::bf16), kH200);
  };
  EXPECT_NEAR(rate("resnet18"), 188e3, 0.5e3);
  EXPECT_NEAR(rate("resnet34"), 100e3, 0.5e3);
  EXPECT_NEAR(rate("resnet50"), 60.2e3, 0.05e3);
  EXPECT_NEAR(rate("resnet101"), 36.5e3, 0.05e3);
  EXPECT_NEAR(rate("resnet152"), 25.4e3, 0.05e3);
}

TEST(RooflineNet, CountsEveryMembersParameters) {
  for (const models::Specification& specification : models::specifications()) {
    models::ResNet member(specification, {.initialize = false});
    double parameters = 0;
    for (const NamedParameter& parameter : member.parameters())
      parameters += static_cast<double>(parameter.tensor.numel());
    EXPECT_EQ(roofline_net(member, 1, specification.default_image_size()).parameters, parameters) << specification.name;
  }
}

TEST(RooflineNet, KeepsTheImageSizeBehindASmallStem) {
  const RooflineNet shapes = roofline_net(net("resnet20", 10), 128, 32);
  EXPECT_EQ(shapes.pooled, 0);
  EXPECT_EQ(shapes.stem.y, 128 * 32 * 32 * 16);
  EXPECT_EQ(shapes.blocks.back().convs.back().y, 128 * 8 * 8 * 64);
}

// 3x3 stem and a block's shortcut without parameters, by hand: batch 1 of 8x8, one block of each stage.
TEST(TrainingFloor, CountsWhatAShortcutWithoutParametersReads) {
  const models::Specification specification = {
      .name = "small", .family = models::Family::cifar, .block = models::BlockKind::basic, .blocks = {1, 1}};
  const RooflineNet shapes = roofline_net(models::ResNet(specification, {.initialize = false}), 1, 8);
  const auto kernels = training_kernels(shapes, Regime::epilogues, DType::f32);
  const auto join =
      std::find_if(kernels.begin(), kernels.end(), [](const auto& k) { return k.name == "layer2.0 join"; });
  ASSERT_NE(join, kernels.end());
  constexpr double kResult = 4 * 4 * 32;
  EXPECT_EQ(join->cost.read, (kResult + 4 * 4 * 16) * 4);
  EXPECT_EQ(join->cost.written, kResult * 4 + kResult / 8);
}

// Fusing more never moves more, for any member, training at any precision.
TEST(TrainingFloor, FallsFromRegimeToRegime) {
  for (const models::Specification& specification : models::specifications()) {
    const RooflineNet shapes =
        roofline_net(models::ResNet(specification, {.initialize = false}), 4, specification.default_image_size());
    for (const DType dtype : {DType::f32, DType::bf16}) {
      double before = 1e9;
      for (const Regime regime :
           {Regime::unfused, Regime::fused_norm, Regime::epilogues, Regime::prologues, Regime::gradient_prologues}) {
        const double seconds = floor_seconds(training_kernels(shapes, regime, dtype), kH200);
        EXPECT_LE(seconds, before) << specification.name << ' ' << name_of(regime) << ' ' << dtype;
        before = seconds;
      }
    }
  }
}

TEST(StepFloor, ComparesTrainingWithFusedEpilogues) {
  const StepFloor floor = step_floor(net("resnet50"), 256, 224, DType::bf16, Mode::train, kH200);
  EXPECT_STREQ(floor.regime, "epilogues");
  EXPECT_NEAR(floor.seconds, 0.01900555382721788, 1e-12);
  EXPECT_NEAR(floor.bytes, 69711736816, 1);
}

}  // namespace
}  // namespace engine::bench
