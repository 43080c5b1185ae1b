// Construction and use of nets: options, initial values, modes and the text of every error.
#include "models/resnet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/autograd.h"
#include "engine/cpu/backend.h"
#include "engine/ops/loss.h"
#include "engine/optim/sgd.h"
#include "tests/engine/error_text.h"
#include "tests/models/parity.h"

namespace {

using namespace engine;
using engine::testing::error_text;
using models::Block;
using models::BlockKind;
using models::BlockSpec;
using models::ResNet;

class ReproducibleTest : public ::testing::Test {
  parity::Reproducible reproducible_;
};
using ResNetErrors = ReproducibleTest;
using ResNetOptions = ReproducibleTest;
using Initialisation = ReproducibleTest;
using Modes = ReproducibleTest;
using OptionA = ReproducibleTest;
using PlainTwin = ReproducibleTest;
using Training = ReproducibleTest;

TEST_F(ResNetErrors, NumClassesBelowTwo) {
  for (const int64_t classes : {1, 0, -3}) {
    const std::string value = std::to_string(classes);
    EXPECT_EQ(error_text([&] { models::resnet_intro(50, {.num_classes = classes}); }),
              "resnet50_intro: num_classes is " + value + ", expected at least 2");
    EXPECT_EQ(error_text([&] { models::resnet18({.num_classes = classes}); }),
              "resnet18: num_classes is " + value + ", expected at least 2");
  }
}

TEST_F(ResNetErrors, DepthOfTheIntroduction) {
  for (const int depth : {20, 77, 1000000}) {
    const std::string value = std::to_string(depth);
    EXPECT_EQ(error_text([&] { models::resnet_intro(depth); }),
              "model resnet" + value + "_intro: the depth is " + value + ", expected one of 18, 34, 50, 101, 152");
  }
  for (const int depth : {0, -18}) {
    EXPECT_EQ(error_text([&] { models::resnet_intro(depth); }),
              "resnet_intro: the depth is " + std::to_string(depth) + ", expected one of 18, 34, 50, 101, 152");
  }
}

TEST_F(ResNetErrors, DepthInAName) {
  EXPECT_EQ(error_text([] { models::make_resnet("resnet77"); }),
            "model resnet77: the depth is 77, expected one of 18, 34, 50, 101, 152 (or 20, 32, 44, 56, 110 for 32x32 "
            "images)");
}

TEST_F(ResNetErrors, UnknownNameGetsTheNearest) {
  EXPECT_EQ(error_text([] { models::make_resnet("resnest50"); }),
            "model resnest50: there is no such model; did you mean resnet50? --list-models prints all");
  EXPECT_EQ(error_text([] { models::make_resnet("resnext50"); }).substr(0, 71),
            "model resnext50: there is no such model; did you mean resnet50? --list-");
  EXPECT_THAT(error_text([] { models::make_resnet("plain21"); }), ::testing::HasSubstr("did you mean plain20?"));
  EXPECT_THAT(error_text([] { models::make_resnet(""); }), ::testing::HasSubstr("there is no such model"));
}

TEST_F(ResNetErrors, ImagesOfAnotherShape) {
  ResNet net = models::make_resnet("resnet20");
  EXPECT_EQ(error_text([&] {
              net(Tensor::zeros({1, 32, 32, 1}));
            }),
            "resnet20: the images have shape [1,32,32,1], expected [N,H,W,3]");
  EXPECT_EQ(error_text([&] { net(Tensor{}); }), "resnet20: the images have shape [], expected [N,H,W,3]");
  EXPECT_EQ(error_text([&] {
              net(Tensor::zeros({1, 32, 32, 3}, {.dtype = DType::u8}));
            }),
            "conv_bn_relu: x [1,32,32,3] holds u8, expected a float type; see normalize_images");
}

TEST_F(ResNetErrors, ImagesOfAnotherSizeForTheIntroduction) {
  ResNet net = models::resnet_intro(18, {.initialize = false});
  net.eval();
  EXPECT_EQ(error_text([&] {
              net(Tensor::zeros({1, 192, 224, 3}));
            }),
            "resnet18_intro: the images are 192x224, expected at least 193x193");
  EXPECT_EQ(error_text([&] {
              net(Tensor::zeros({1, 225, 225, 3}));
            }),
            "resnet18_intro: 8x8 values a channel behind the last block leave 2x2 behind the 7x7 average pool, expected "
            "1x1; use 224x224 images");
}

TEST_F(ResNetErrors, OneValueAChannelInTraining) {
  ResNet net = models::resnet18({.num_classes = 2, .initialize = false});
  EXPECT_EQ(error_text([&] {
              net(Tensor::zeros({1, 32, 32, 3}));
            }),
            "conv_bn_relu: [1,1,1,512] has one value per channel, training needs more than one; use a larger batch or "
            "evaluation mode");
}

TEST_F(ResNetOptions, DefaultNumbersOfClasses) {
  EXPECT_EQ(models::resnet18({.initialize = false}).num_classes(), 1000);
  EXPECT_EQ(models::resnet_intro(18, {.initialize = false}).num_classes(), 10);
  EXPECT_EQ(models::make_resnet("resnet20").num_classes(), 10);
  EXPECT_EQ(models::make_resnet("resnet20", {.num_classes = 2}).num_classes(), 2);
}

TEST_F(ResNetOptions, ZeroInitResidualStartsTheLastNormOfEachBlockAtZero) {
  for (const char* name : {"resnet20", "resnet50"}) {
    ResNet net = models::make_resnet(name, {.num_classes = 2, .zero_init_residual = true, .initialize = false});
    const std::string last = net.specification().block == BlockKind::basic ? ".bn2.weight" : ".bn3.weight";
    int zeros = 0;
    for (const auto& [key, tensor] : net.state()) {
      if (!key.ends_with(".weight") || tensor.shape().rank() != 1) continue;
      const float expected = key.ends_with(last) ? 0.0f : 1.0f;
      zeros += key.ends_with(last);
      EXPECT_THAT(tensor.to_vector<float>(), ::testing::Each(expected)) << key;
    }
    const std::vector<int>& blocks = net.specification().blocks;
    EXPECT_EQ(zeros, std::accumulate(blocks.begin(), blocks.end(), 0));
  }
}

TEST_F(Initialisation, IsAFunctionOfTheSeed) {
  ResNet a = models::make_resnet("resnet20", {.seed = 3}), b = models::make_resnet("resnet20", {.seed = 3}),
         c = models::make_resnet("resnet20", {.seed = 4});
  EXPECT_EQ(a.conv1.weight.to_vector<float>(), b.conv1.weight.to_vector<float>());
  EXPECT_EQ(a.fc.weight.to_vector<float>(), b.fc.weight.to_vector<float>());
  EXPECT_NE(a.conv1.weight.to_vector<float>(), c.conv1.weight.to_vector<float>());
}

// Mean 0 and variance 2/(K*R*S), each within five standard errors.
TEST_F(Initialisation, FiltersAreKaimingNormalFanOut) {
  ResNet net = models::make_resnet("resnext50_32x4d", {.num_classes = 2});
  for (const auto& [name, tensor] : net.state()) {
    if (tensor.shape().rank() != 4) continue;
    const Shape& s = tensor.shape();
    const double variance = 2.0 / static_cast<double>(s[0] * s[1] * s[2]);
    const auto n = static_cast<double>(tensor.numel());
    double sum = 0, squares = 0;
    for (const float value : tensor.values<float>()) {
      sum += static_cast<double>(value);
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    EXPECT_NEAR(sum / n, 0, 5 * std::sqrt(variance / n)) << name;
    EXPECT_NEAR(squares / n, variance, 5 * variance * std::sqrt(2 / n)) << name;
  }
}

// Uniform in +-1/sqrt(fan in): all inside, and some close to both ends.
void expect_uniform(const Tensor& tensor, double bound, const std::string& name) {
  const std::vector<float> values = tensor.to_vector<float>();
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  EXPECT_GE(static_cast<double>(*low), -bound * (1 + 1e-6)) << name;
  EXPECT_LE(static_cast<double>(*high), bound * (1 + 1e-6)) << name;
  EXPECT_LT(static_cast<double>(*low), -0.7 * bound) << name;
  EXPECT_GT(static_cast<double>(*high), 0.7 * bound) << name;
}

TEST_F(Initialisation, LinearAndBiasesArePyTorchsDefault) {
  ResNet net = models::resnet_intro(18, {.num_classes = 40});
  expect_uniform(net.fc.weight, 1 / std::sqrt(512.0), "fc.weight");
  expect_uniform(net.fc.bias, 1 / std::sqrt(512.0), "fc.bias");
  expect_uniform(net.conv1.bias, 1 / std::sqrt(147.0), "conv1.bias");
  expect_uniform(net.layers[0][0].conv1.bias, 1 / std::sqrt(576.0), "layer1.0.conv1.bias");
}

TEST_F(Modes, TrainAndEvalReachEveryModule) {
  ResNet net = models::make_resnet("resnet20");
  EXPECT_TRUE(net.layers[2][2].bn2.training());
  net.eval();
  EXPECT_FALSE(net.training());
  EXPECT_FALSE(net.bn1.training());
  EXPECT_FALSE(net.layers[2][2].bn2.training());
  net.train();
  EXPECT_TRUE(net.layers[0][0].bn1.training());
}

TEST_F(Modes, EvaluationLeavesTheStatisticsAlone) {
  ResNet net = models::make_resnet("resnet20");
  parity::set_values(net);
  const Tensor images = parity::images(0, 2, 16);
  const std::vector<float> before = net.bn1.bn.running_mean.to_vector<float>();
  net.eval();
  net(images);
  EXPECT_EQ(net.bn1.bn.running_mean.to_vector<float>(), before);
  EXPECT_EQ(net.bn1.num_batches_tracked.item(), 0);
  net.train();
  net(images);
  EXPECT_NE(net.bn1.bn.running_mean.to_vector<float>(), before);
  EXPECT_EQ(net.bn1.num_batches_tracked.item(), 1);
}

TEST_F(Modes, EvaluationTreatsImagesOneByOne) {
  ResNet net = models::make_resnet("resnet20");
  parity::set_values(net);
  net.eval();
  const NoGrad no_grad;
  const Tensor pair = parity::images(0, 2, 16);
  const std::vector<float> pixels = pair.to_vector<float>();
  const Tensor first = Tensor::from(std::span(pixels).first(pixels.size() / 2), {1, 16, 16, 3});
  const std::vector<float> both = net(pair).to_vector<float>(), alone = net(first).to_vector<float>();
  double peak = 0;
  for (const float logit : both) peak = std::max(peak, std::abs(static_cast<double>(logit)));
  // 20 layers whose sums have at most 576 terms; another batch may take another algorithm.
  const double bound = 20 * (4 + 2 * std::sqrt(576.0)) * 0x1p-24 * peak;
  for (size_t k = 0; k < alone.size(); ++k) {
    EXPECT_NEAR(static_cast<double>(alone[k]), static_cast<double>(both[k]), bound);
  }
}

// In evaluation mode the fused inference and the recorded way compute the same net.
TEST_F(Modes, EvaluationWithAndWithoutGradients) {
  for (const char* name : {"resnet20", "plain20"}) {
    ResNet net = models::make_resnet(name);
    parity::set_values(net);
    net.eval();
    const Tensor images = parity::images(0, 2, 16);
    const std::vector<double> recorded = parity::values_of(net(images));
    const NoGrad no_grad;
    const std::vector<double> fused = parity::values_of(net(images));
    double peak = 0;
    for (const double logit : recorded) peak = std::max(peak, std::abs(logit));
    const double bound = 20 * (4 + 2 * std::sqrt(576.0)) * 0x1p-24 * peak;
    for (size_t k = 0; k < fused.size(); ++k) EXPECT_NEAR(fused[k], recorded[k], bound);
  }
}

// Option A: with filters of zero a block passes every second pixel on, between two equal groups of empty channels.
TEST_F(OptionA, TakesEverySecondPixelAndPadsChannelsOnBothSides) {
  RandomStream random(0, 0, 0, purpose::kInitialisation);
  Block block(
      {.in_channels = 2, .mid_channels = 4, .out_channels = 4, .stride = 2, .shortcut = BlockSpec::Shortcut::subsample},
      &random);
  block.conv2.weight.copy_from(Tensor::zeros(block.conv2.weight.shape()));
  std::vector<float> pixels(3 * 5 * 2);
  std::iota(pixels.begin(), pixels.end(), 1.0f);  // value of (h, w, c): 10h + 2w + c + 1
  const Tensor y = block(Tensor::from(pixels, {1, 3, 5, 2}));
  EXPECT_EQ(y.shape(), (Shape{1, 2, 3, 4}));
  EXPECT_THAT(y.to_vector<float>(), ::testing::ElementsAre(0, 1, 2, 0, 0, 5, 6, 0, 0, 9, 10, 0,  //
                                                           0, 21, 22, 0, 0, 25, 26, 0, 0, 29, 30, 0));
}

TEST_F(PlainTwin, HasNoShortcut) {
  RandomStream random(0, 0, 0, purpose::kInitialisation);
  Block block({.in_channels = 2, .mid_channels = 2, .out_channels = 2, .shortcut = BlockSpec::Shortcut::none}, &random);
  block.conv2.weight.copy_from(Tensor::zeros(block.conv2.weight.shape()));
  const Tensor y = block(Tensor::full({1, 3, 3, 2}, 5));
  EXPECT_THAT(y.to_vector<float>(), ::testing::Each(0.0f));
}

// A net trains in both precisions: the loss on one batch falls.
TEST_F(Training, MemorisesABatch) {
  for (const DType precision : {DType::f32, DType::bf16}) {
    if (precision == DType::bf16 && !cpu::supports_bf16()) continue;
    ResNet net = models::make_resnet("resnet20", {.num_classes = 10});
    Sgd sgd(net.parameters(), {.lr = 0.05f});
    const Tensor images = parity::images(0, 8, 8).to(precision), labels = parity::labels(0, 8);
    double first = 0, last = 0;
    for (int step = 0; step < 15; ++step) {
      const Tensor loss = cross_entropy(net(images), labels);
      last = loss.item();
      if (step == 0) first = last;
      loss.backward();
      sgd.step();
    }
    EXPECT_LT(last, first / 2) << precision;
  }
}

}  // namespace
