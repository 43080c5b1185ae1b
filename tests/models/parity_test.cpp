// Whole nets against PyTorch: logits, every gradient, running statistics and ten losses of SGD. See parity.h.
#include "tests/models/parity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>

#include "engine/autograd.h"
#include "engine/cpu/backend.h"
#include "engine/ops/linear.h"
#include "engine/ops/loss.h"
#include "engine/ops/pool.h"
#include "engine/optim/sgd.h"
#include "models/resnet.h"
#include "tests/device.h"

namespace {

using namespace engine;
using engine::testing::on_cpu;
using engine::testing::test_device;
using models::Block;
using models::BlockKind;
using models::BlockSpec;
using models::Family;
using models::ResNet;
using models::Specification;

// The introduction's blocks with few channels behind a small stem: a whole net of that family needs images of 193x193.
class TinyIntro : public Module {
 public:
  explicit TinyIntro(BlockKind kind) {
    RandomStream random(0, 0, 0, purpose::kInitialisation);
    const int64_t after = kind == BlockKind::basic ? 32 : 64;
    conv1 = Conv2d({.in_channels = 3, .out_channels = 16, .kernel = 3, .padding = 1, .bias = true}, random);
    bn1 = BatchNorm2d(16);
    blocks.emplace_back(BlockSpec{.kind = kind,
                                  .in_channels = 16,
                                  .mid_channels = 16,
                                  .out_channels = after,
                                  .stride = 2,
                                  .bias = true,
                                  .shortcut = BlockSpec::Shortcut::projection},
                        &random);
    blocks.emplace_back(
        BlockSpec{.kind = kind, .in_channels = after, .mid_channels = 16, .out_channels = after, .bias = true},
        &random);
    fc = Linear(after, 10, random);
  }
  Tensor operator()(const Tensor& images) {
    Tensor x = conv_bn_relu(images, conv1, bn1);
    for (Block& block : blocks) x = block(x);
    return fc(global_avg_pool(x));
  }
  void visit(ModuleVisitor& visitor) override {
    visitor.module("conv1", conv1);
    visitor.module("bn1", bn1);
    for (size_t i = 0; i < blocks.size(); ++i) visitor.module("layer1." + std::to_string(i), blocks[i]);
    visitor.module("fc", fc);
  }

 private:
  Conv2d conv1;
  BatchNorm2d bn1;
  std::vector<Block> blocks;
  Linear fc;
};

struct Net {
  std::shared_ptr<Module> module;
  std::function<Tensor(const Tensor&)> forward;
};

template <class M>
Net wrap(std::shared_ptr<M> module) {
  return {module, [module](const Tensor& images) { return (*module)(images); }};
}

Net make_net(const std::string& name) {
  const auto build = [](const Specification& specification) {
    return wrap(std::make_shared<ResNet>(specification, models::ResNetOptions{.num_classes = 10, .initialize = false}));
  };
  if (name == "basic_identity") return build({.name = name, .family = Family::cifar, .blocks = {1}});
  if (name == "basic_option_a") return build({.name = name, .family = Family::cifar, .blocks = {1, 1}});
  if (name == "basic_plain") {
    return build({.name = name, .family = Family::cifar, .blocks = {1, 1}, .shortcuts = false});
  }
  if (name == "basic_projection") return build({.name = name, .blocks = {1, 1}});
  if (name == "bottleneck") return build({.name = name, .block = BlockKind::bottleneck, .blocks = {2, 1}});
  if (name == "bottleneck_grouped") {
    return build({.name = name, .block = BlockKind::bottleneck, .blocks = {1, 1}, .groups = 32, .width_per_group = 4});
  }
  if (name == "intro_basic") return wrap(std::make_shared<TinyIntro>(BlockKind::basic));
  if (name == "intro_bottleneck") return wrap(std::make_shared<TinyIntro>(BlockKind::bottleneck));
  return build(models::find_specification(name));
}

struct Case {
  const char* golden;
  const char* net;
  DType precision = DType::f32;
  bool reproducible = true;  // otherwise with all threads, and with the algorithms that are the fastest here
};

void PrintTo(const Case& tested, std::ostream* out) {
  *out << tested.golden << " in " << tested.precision;
}

class Parity : public ::testing::TestWithParam<Case> {
 protected:
  Parity() : golden(parity::read_golden(GetParam().golden)), net(make_net(GetParam().net)) {
    parity::set_values(*net.module);
    net.module->to(test_device());
    if (GetParam().reproducible) reproducible.emplace();
  }
  void SetUp() override {
    if (on_cpu() && GetParam().precision == DType::bf16 && !cpu::supports_bf16())
      GTEST_SKIP() << "no bf16 on this processor";
    // One step shows every kernel that the net needs; on the emulator eleven more would take minutes.
    const std::string test = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    if (test_device().type == DeviceType::emulated && golden.image_size > 24 && !test.starts_with("TrainingStep"))
      GTEST_SKIP() << "one training step is enough on the emulator";
  }

  Tensor images(int64_t number) const {
    return parity::images(number, golden.batch, golden.image_size).to(test_device()).to(GetParam().precision);
  }
  Tensor loss_of(const Tensor& logits, int64_t number) const {
    return cross_entropy(logits, parity::labels(number, golden.batch).to(test_device()),
                         {.label_smoothing = golden.label_smoothing});
  }

  std::optional<parity::Reproducible> reproducible;
  parity::Golden golden;
  Net net;
};

TEST_P(Parity, EvaluationLogits) {
  net.module->eval();
  const NoGrad no_grad;
  const parity::Digest& exact = golden.eval_logits;
  EXPECT_EQ(parity::difference("eval_logits", parity::values_of(net.forward(images(0)).to(Device{})), exact,
                               exact.norm_error / exact.norm),
            "");
}

TEST_P(Parity, TrainingStep) {
  const Tensor logits = net.forward(images(0));
  const parity::Digest& exact = golden.logits;
  EXPECT_EQ(parity::difference("logits", parity::values_of(logits.to(Device{})), exact, exact.norm_error / exact.norm),
            "");
  loss_of(logits, 0).backward();

  std::vector<std::string> names;
  for (const auto& [name, parameter, kind] : net.module->parameters()) {
    names.push_back(name);
    ASSERT_TRUE(parameter.grad().defined()) << name;
    EXPECT_EQ(parity::difference(name, parity::values_of(parameter.grad().to(Device{})), golden.gradients.at(name),
                                 parity::largest_relative_error(golden.gradients)),
              "");
  }
  EXPECT_EQ(names.size(), golden.gradients.size());
}

TEST_P(Parity, RunningStatistics) {
  const NoGrad no_grad;
  net.forward(images(0));
  size_t compared = 0;
  for (const auto& [name, tensor] : net.module->state()) {
    if (name.ends_with("num_batches_tracked")) {
      EXPECT_EQ(tensor.item(), 1) << name;
      continue;
    }
    const auto exact = golden.statistics.find(name);
    if (exact == golden.statistics.end()) continue;
    ++compared;
    EXPECT_EQ(parity::difference(name, parity::values_of(tensor.to(Device{})), exact->second,
                                 parity::largest_relative_error(golden.statistics)),
              "");
  }
  EXPECT_EQ(compared, golden.statistics.size());
}

TEST_P(Parity, TenLosses) {
  Sgd sgd(
      net.module->parameters(),
      {.lr = golden.lr, .momentum = golden.momentum, .nesterov = golden.nesterov, .weight_decay = golden.weight_decay});
  const Tensor batches[] = {images(0), images(1)};
  // A loss moves by at most twice the largest change of a logit; after that the steps carry errors on.
  double yardstick = 2 * golden.logits.peak_error;
  for (size_t step = 0; step < golden.losses.size(); ++step) {
    const int64_t number = static_cast<int64_t>(step % 2);
    const Tensor loss = loss_of(net.forward(batches[number]), number);
    const double exact = golden.losses[step];
    yardstick = std::max(yardstick, golden.loss_errors[step]);
    EXPECT_NEAR(loss.item(), exact, parity::kMargin * yardstick + 2 * 0x1p-24 * exact) << "step " << step;
    loss.backward();
    sgd.step();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Nets, Parity,
    ::testing::Values(Case{"basic_identity", "basic_identity"}, Case{"basic_option_a", "basic_option_a"},
                      Case{"basic_plain", "basic_plain"}, Case{"basic_projection", "basic_projection"},
                      Case{"bottleneck", "bottleneck"}, Case{"bottleneck_grouped", "bottleneck_grouped"},
                      Case{"intro_basic", "intro_basic"}, Case{"intro_bottleneck", "intro_bottleneck"},
                      Case{"resnet20", "resnet20"}, Case{"resnet18", "resnet18"}, Case{"resnet50", "resnet50"},
                      Case{"resnet18_intro", "resnet18_intro"}, Case{"resnet20", "resnet20", DType::f32, false},
                      Case{"basic_option_a_bf16", "basic_option_a", DType::bf16},
                      Case{"bottleneck_bf16", "bottleneck", DType::bf16}),
    [](const auto& tested) {
      return std::string(tested.param.golden) + (tested.param.reproducible ? "" : "_measured");
    });

}  // namespace
