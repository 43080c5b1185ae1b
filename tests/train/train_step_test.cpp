// Optimiser steps of a small net, on each device: what is recorded gives the same bits as what is not, and nothing is
// updated where something is not finite.
#include "engine/train/train_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/autograd.h"
#include "engine/cuda/backend.h"
#include "engine/data/shapes.h"
#include "engine/dist/communicator.h"
#include "engine/dist/gradient_exchange.h"
#include "engine/error.h"
#include "engine/fallback.h"
#include "engine/nn/layers.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/pool.h"
#include "engine/optim/adamw.h"
#include "engine/optim/layerwise.h"
#include "engine/optim/sgd.h"
#include "tests/cuda/fake_module.h"

namespace engine::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kSize = 8;
constexpr int64_t kSamples = 25;  // the last of the batches of 10 has 5
constexpr int64_t kBatch = 10;

// A net of three layers, with a gate in the middle: times one forward and times `factor` backward.
class Net : public Module {
 public:
  explicit Net(Device device) {
    RandomStream random(1, 0, 0, purpose::kInitialisation);
    conv_ = Conv2d({.in_channels = 3, .out_channels = 8, .kernel = 3, .padding = 1}, random);
    bn_ = BatchNorm2d(8);
    conv2_ = Conv2d({.in_channels = 8, .out_channels = 8, .kernel = 3, .padding = 1}, random);
    bn2_ = BatchNorm2d(8);
    fc_ = Linear(8, 10, random);
    to(device);
    factor = Tensor::full({}, 1, {DType::f32, device});
    scale = Tensor::full({}, 1, {DType::f32, device});
  }
  Tensor operator()(const Tensor& images) { return head(body(images)); }
  std::vector<std::function<Tensor(const Tensor&)>> stages() {
    return {[this](const Tensor& x) { return stem(x); }, [this](const Tensor& x) { return block(x); },
            [this](const Tensor& x) { return head(x); }};
  }
  void visit(ModuleVisitor& visitor) override {
    visitor.module("conv", conv_);
    visitor.module("bn", bn_);
    visitor.module("conv2", conv2_);
    visitor.module("bn2", bn2_);
    visitor.module("fc", fc_);
  }

  Tensor factor, scale;

 private:
  Tensor stem(const Tensor& images) { return conv_bn_relu(images, conv_, bn_); }
  Tensor block(const Tensor& x) { return conv_bn_relu(x, conv2_, bn2_, {.residual = x}); }
  Tensor body(const Tensor& images) { return block(stem(images)); }
  Tensor head(const Tensor& x) {
    const Tensor pooled = global_avg_pool(x);
    const Tensor gated =
        record(pooled.detach(), {pooled}, [this](const Tensor& dy) { return Tensors{dy * factor.to(dy.dtype())}; });
    return fc_(gated) * scale.to(x.dtype());
  }

  Conv2d conv_, conv2_;
  BatchNorm2d bn_, bn2_;
  Linear fc_;
};

struct Setting {
  Device device;
  DType dtype = DType::f32;
  int64_t grad_accum_steps = 1;
  bool record = true;
  MixOptions mix = {};
  ErasingOptions erasing = {};
  std::string optimizer = "sgd";
  float max_grad_norm = 0;
  bool scale_loss = false;
  bool recompute = false;
  int64_t skip_nonfinite = 0;
  GradientExchange* exchange = nullptr;
  bool drop_last = false;  // batches of one size, so that what is recorded is replayed
};

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, std::vector<NamedParameter> parameters) {
  if (name == "adamw") return std::make_unique<AdamW>(std::move(parameters), AdamWOptions{});
  if (name == "lars") return std::make_unique<Lars>(std::move(parameters), LarsOptions{.weight_decay = 0.01f});
  if (name == "lamb") return std::make_unique<Lamb>(std::move(parameters), LambOptions{});
  return std::make_unique<Sgd>(std::move(parameters),
                               SgdOptions{.momentum = 0.9f, .nesterov = true, .weight_decay = 0.01f});
}

class Training {
 public:
  explicit Training(const Setting& setting)
      : net_(setting.device),
        model_{.name = "net",
               .module = &net_,
               .forward = [this](const Tensor& images) { return net_(images); },
               .stages = net_.stages(),
               .num_classes = 10},
        optimizer_(make_optimizer(setting.optimizer, net_.parameters())),
        step_(model_, *optimizer_,
              {.input = {.device = setting.device, .dtype = setting.dtype},
               .grad_accum_steps = setting.grad_accum_steps,
               .mixes = setting.mix.any(),
               .erases = setting.erasing.probability > 0,
               .max_grad_norm = setting.max_grad_norm,
               .exchange = setting.exchange,
               .scale_loss = setting.scale_loss,
               .recompute = setting.recompute,
               .skip_nonfinite = setting.skip_nonfinite,
               .on_diverged =
                   [this](const FailedBatch& batch) {
                     failed = batch;
                     return "the batch is kept";
                   }}),
        data_(open_shapes({.train_size = kSamples, .val_size = 10}).train),
        loader_(data_,
                [](const Picture& picture, RandomStream&, std::span<uint8_t> out) {
                  std::copy_n(picture.image.pixels.begin(), out.size(), out.begin());
                },
                {.batch_size = kBatch,
                 .height = kSize,
                 .width = kSize,
                 .drop_last = setting.drop_last,
                 .erasing = setting.erasing,
                 .mix = setting.mix,
                 .workers = 0}),
        setting_(setting) {}

  // Batches follow one another through the epochs.
  StepResult step(double lr) {
    if (batches_left_ < setting_.grad_accum_steps) {
      loader_.start(epoch_++);
      batches_left_ = loader_.batches_per_epoch();
    }
    batches_left_ -= setting_.grad_accum_steps;
    if (!setting_.record) setenv("ENGINE_CUDA_GRAPH", "0", 1);
    StepResult result = step_.run(loader_, *data_, batch_, steps_++, lr);
    unsetenv("ENGINE_CUDA_GRAPH");
    return result;
  }

  // Everything that a checkpoint holds.
  std::vector<std::pair<std::string, std::vector<float>>> state() {
    std::vector<std::pair<std::string, std::vector<float>>> result;
    for (const NamedTensor& tensor : net_.state())
      result.emplace_back(tensor.name, tensor.tensor.to(DType::f32).to_vector<float>());
    for (const NamedTensor& tensor : optimizer_->state())
      result.emplace_back("state " + tensor.name, tensor.tensor.to(DType::f32).to_vector<float>());
    return result;
  }
  std::vector<std::pair<std::string, std::vector<float>>> trained() {
    auto result = state();
    std::erase_if(result, [](const auto& entry) {
      return entry.first.find("running") != std::string::npos || entry.first.find("tracked") != std::string::npos;
    });
    return result;
  }

  Net& net() { return net_; }
  Optimizer& optimizer() { return *optimizer_; }
  double grad_norm() const { return step_.grad_norm(); }
  TrainStep& train_step() { return step_; }
  FailedBatch failed;  // that on_diverged was given

 private:
  Net net_;
  TrainableModel model_;
  std::unique_ptr<Optimizer> optimizer_;
  TrainStep step_;
  DatasetPtr data_;
  Loader loader_;
  Setting setting_;
  Batch batch_;
  int64_t epoch_ = 0, batches_left_ = 0, steps_ = 0;
};

void set(Tensor& tensor, float value) {
  tensor.copy_from(Tensor::full({}, value, {DType::f32, tensor.device()}));
}

std::string diverged_text(Training& training) {
  try {
    training.step(0.1);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::diverged);
    return error.what();
  }
  return "no error";
}

// Batches of two sizes, another rate in each step.
TEST(TrainStep, RecordedStepsGiveTheBitsOfSingleLaunches) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const int64_t accumulated : {1, 3}) {
      SCOPED_TRACE(std::string(name_of(dtype)) + ", " + std::to_string(accumulated) + " batches a step");
      clear_fallbacks();
      const Device device = {DeviceType::emulated};
      const bool scaled = dtype == DType::f16;
      Training recorded({.device = device, .dtype = dtype, .grad_accum_steps = accumulated, .scale_loss = scaled});
      Training single(
          {.device = device, .dtype = dtype, .grad_accum_steps = accumulated, .record = false, .scale_loss = scaled});
      for (int i = 0; i < 8; ++i) {
        const double lr = 0.01 * (i + 1);
        EXPECT_EQ(recorded.step(lr).sums.loss, single.step(lr).sums.loss) << "step " << i;
      }
      EXPECT_TRUE(recorded.state() == single.state());
      EXPECT_TRUE(fallbacks().empty());
    }
}

// Mixup, cutmix and neither of them in turn, and boxes of every size: what is decided for a batch is read when the step
// happens.
TEST(TrainStep, RecordedStepsMixAndErase) {
  for (const int64_t accumulated : {1, 2}) {
    const Setting setting = {.device = {DeviceType::emulated},
                             .grad_accum_steps = accumulated,
                             .mix = {.mixup_alpha = 1, .cutmix_alpha = 1, .probability = 0.8},
                             .erasing = {.probability = 0.7}};
    Setting unrecorded = setting, plain = setting;
    unrecorded.record = false;
    plain.mix = {};
    Training recorded(setting), single(unrecorded), unmixed(plain);
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(recorded.step(0.05).sums.loss, single.step(0.05).sums.loss) << "step " << i;
      unmixed.step(0.05);
    }
    EXPECT_TRUE(recorded.state() == single.state());
    EXPECT_FALSE(recorded.state() == unmixed.state());
  }
}

// What changes from step to step (the number of the step, the factor that clips) lies in the device's memory.
TEST(TrainStep, RecordsEveryOptimiser) {
  for (const char* optimizer : {"sgd", "adamw", "lars", "lamb"})
    for (const int64_t accumulated : {1, 2}) {
      SCOPED_TRACE(std::string(optimizer) + ", " + std::to_string(accumulated) + " batches a step");
      clear_fallbacks();
      const Setting setting = {.device = {DeviceType::emulated},
                               .grad_accum_steps = accumulated,
                               .optimizer = optimizer,
                               .max_grad_norm = 0.5f};
      Setting launched = setting;
      launched.record = false;
      Training recorded(setting), single(launched);
      for (int i = 0; i < 6; ++i) {
        EXPECT_EQ(recorded.step(0.01 * (i + 1)).sums.loss, single.step(0.01 * (i + 1)).sums.loss) << "step " << i;
        EXPECT_EQ(recorded.grad_norm(), single.grad_norm()) << "step " << i;
      }
      EXPECT_TRUE(recorded.state() == single.state());
      EXPECT_TRUE(fallbacks().empty());
    }
}

// Two ranks, of which the other does what this one does: their sum is the double of either.
class Twin final : public Communicator {
 public:
  Twin() : Communicator(0, 2) {}
  std::string description() const override { return "a rank and its twin"; }
  void sum(std::span<float> values) override {
    for (float& value : values) value *= 2;
  }
  void all_gather(std::span<const float> mine, std::span<float> all) override {
    std::copy(mine.begin(), mine.end(), all.begin());
    std::copy(mine.begin(), mine.end(), all.begin() + static_cast<ptrdiff_t>(mine.size()));
  }
  std::vector<std::string> all_gather(std::string_view mine) override { return {2, std::string(mine)}; }
  std::vector<std::string> gather(std::string_view mine) override { return all_gather(mine); }
  std::string broadcast(std::string_view text) override { return std::string(text); }
  void check_peers() const override {}
  void finish() override {}
  void abandon(const std::string&) override {}
};

// What NCCL does for the two, by a kernel on the emulator.
int groups_sent = 0;
const kernels::RankLibrary kTwinLibrary = {
    .name = "twins",
    .load =
        [](const char** version) {
          *version = "1";
          return kernels::Status{};
        },
    .unique_id = [](void*) { return kernels::Status{}; },
    .join =
        [](const void*, int, int, kernels::LibraryRanks** out) {
          *out = nullptr;
          return kernels::Status{};
        },
    .begin_group = [] { return kernels::Status{}; },
    .end_group =
        [] {
          ++groups_sent;
          return kernels::Status{};
        },
    .sum =
        [](kernels::LibraryRanks*, float* data, size_t count, kernels::Stream stream) {
          const bool launched = kernels::emulated_module().kernels->affine(
              {.count = static_cast<int64_t>(count), .x = data, .scale = 2, .y = data}, stream);
          return launched ? kernels::Status{} : kernels::Status{kernels::Problem::other, 1, "not launched"};
        },
    .all_gather = [](kernels::LibraryRanks*, const float*, float*, size_t,
                     kernels::Stream) { return kernels::Status{}; },
    .leave = [](kernels::LibraryRanks*) {},
};

// The sums run on a stream of their own from the backward pass on, and are recorded with the step.
TEST(TrainStep, RanksWhoseDevicesAreJoinedTakeTheStepsOfOne) {
  const Device device = {DeviceType::emulated};
  FakeModule fake;
  const kernels::Libraries libraries = {.nccl = &kTwinLibrary};
  fake.module.libraries = &libraries;
  cuda::CudaBackend joined(fake.module, device);
  const SubstituteBackend substitute(device, joined);
  Twin twin;
  std::string reason;
  const std::unique_ptr<DeviceRanks> devices = backend(device).join_ranks(twin, &reason);
  ASSERT_NE(devices, nullptr) << reason;
  for (const int64_t accumulated : {1, 2}) {
    SCOPED_TRACE(std::to_string(accumulated) + " batches a step");
    clear_fallbacks();
    const std::unique_ptr<GradientExchange> exchange = device_exchange(twin, *devices, /*group_bytes=*/256);
    groups_sent = 0;
    Setting setting = {.device = device, .grad_accum_steps = accumulated, .drop_last = true};
    Training one(setting);
    setting.exchange = exchange.get();
    Training ranks(setting);
    int before_replays = 0;
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(ranks.step(0.1).sums.loss, one.step(0.1).sums.loss) << "step " << i;
      if (i == 1) before_replays = groups_sent;
    }
    EXPECT_TRUE(ranks.state() == one.state());
    EXPECT_TRUE(fallbacks().empty());
    if (accumulated > 1) continue;
    EXPECT_GE(before_replays, 2 * 2) << "in groups";
    EXPECT_EQ(groups_sent, before_replays) << "recorded with the step";
  }
}

TEST(TrainStep, RanksThatExchangeThroughTheHostTakeTheStepsOfOne) {
  Twin twin;
  for (const DeviceType type : {DeviceType::cpu, DeviceType::emulated})
    for (const int64_t accumulated : {1, 2}) {
      SCOPED_TRACE(to_string(Device{type}) + ", " + std::to_string(accumulated) + " batches a step");
      clear_fallbacks();
      const std::unique_ptr<GradientExchange> exchange = host_exchange(twin);
      Training one({.device = {type}, .grad_accum_steps = accumulated}),
          ranks({.device = {type}, .grad_accum_steps = accumulated, .exchange = exchange.get()});
      for (int i = 0; i < 6; ++i) EXPECT_EQ(ranks.step(0.1).sums.loss, one.step(0.1).sums.loss) << "step " << i;
      EXPECT_TRUE(ranks.state() == one.state());
      EXPECT_TRUE(fallbacks().empty());
    }
}

TEST(TrainStep, ClipsTheGradient) {
  for (const DeviceType type : {DeviceType::cpu, DeviceType::emulated}) {
    Training whole({.device = {type}}), clipped({.device = {type}, .max_grad_norm = 0x1p-10f});
    const auto before = whole.net().parameters()[0].tensor.to_vector<float>();
    whole.step(0.1), clipped.step(0.1);
    EXPECT_GT(whole.grad_norm(), 0.1);
    EXPECT_EQ(clipped.grad_norm(), whole.grad_norm()) << "as it was before it was clipped";
    double moved = 0, clipped_moved = 0;
    const auto of_whole = whole.net().parameters()[0].tensor.to_vector<float>();
    const auto of_clipped = clipped.net().parameters()[0].tensor.to_vector<float>();
    for (size_t i = 0; i < before.size(); ++i) {
      moved += std::abs(double{of_whole[i]} - double{before[i]});
      clipped_moved += std::abs(double{of_clipped[i]} - double{before[i]});
    }
    EXPECT_LT(clipped_moved, moved);
  }
}

TEST(TrainStep, FollowsAnOptimiserThatWasLoaded) {
  const Device device = {DeviceType::emulated};
  Training recorded({.device = device}), single({.device = device, .record = false});
  for (Training* training : {&recorded, &single}) {
    for (int i = 0; i < 6; ++i) training->step(0.1);
    training->optimizer().load_state({});
    for (int i = 0; i < 6; ++i) training->step(0.1);
  }
  EXPECT_TRUE(recorded.state() == single.state());
}

class Diverging : public ::testing::TestWithParam<std::tuple<DeviceType, int64_t>> {
 protected:
  Diverging() : training_({.device = {std::get<0>(GetParam())}, .grad_accum_steps = std::get<1>(GetParam())}) {}
  Training training_;
};

TEST_P(Diverging, AGradientThatIsNotFiniteUpdatesNothing) {
  for (int i = 0; i < 5; ++i) training_.step(0.1);
  const auto before = training_.trained();
  set(training_.net().factor, std::numeric_limits<float>::infinity());
  EXPECT_THAT(diverged_text(training_),
              AllOf(HasSubstr("training: the gradient of conv.weight is not finite in step 5"),
                    HasSubstr("no parameter was updated")));
  EXPECT_TRUE(training_.trained() == before);
}

TEST_P(Diverging, ALossThatIsNotFiniteUpdatesNothing) {
  for (int i = 0; i < 5; ++i) training_.step(0.1);
  const auto before = training_.trained();
  set(training_.net().scale, std::numeric_limits<float>::infinity());
  EXPECT_THAT(diverged_text(training_), AllOf(HasSubstr("training: the loss is "), HasSubstr(" in step 5"),
                                              HasSubstr("no parameter was updated")));
  EXPECT_TRUE(training_.trained() == before);
}

TEST_P(Diverging, InTheFirstStepLeavesNoTrace) {
  const auto weights = training_.net().parameters()[0].tensor.to_vector<float>();
  set(training_.net().factor, std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(diverged_text(training_), HasSubstr("the gradient of conv.weight is not finite in step 0"));
  EXPECT_EQ(training_.net().parameters()[0].tensor.to_vector<float>(), weights);
  for (const NamedTensor& momentum : training_.optimizer().state())
    EXPECT_THAT(momentum.tensor.to_vector<float>(), ::testing::Each(0.0f)) << momentum.name;
}

TEST_P(Diverging, SaysWhereItBegan) {
  training_.step(0.1);
  set(training_.net().factor, std::numeric_limits<float>::infinity());
  EXPECT_THAT(diverged_text(training_),
              HasSubstr("; the first in the network that is not finite is the gradient that what comes after conv2+bn2 "
                        "passes back; the batch is kept; no parameter was updated"));
  set(training_.net().scale, std::numeric_limits<float>::infinity());
  EXPECT_THAT(diverged_text(training_),
              HasSubstr("; the first in the network that is not finite is the output of what comes after fc"));
  EXPECT_EQ(training_.failed.step, 2);
  const auto count = static_cast<int64_t>(training_.failed.indices.size());
  EXPECT_GE(count, kSamples % kBatch);
  EXPECT_EQ(training_.failed.images.shape(), (Shape{count, kSize, kSize, 3}));
}

// Leaving a step out is as if it had not been, but for the data, which go on.
TEST_P(Diverging, AStepThatIsLeftOutLeavesNoTrace) {
  Training training(
      {.device = {std::get<0>(GetParam())}, .grad_accum_steps = std::get<1>(GetParam()), .skip_nonfinite = 2});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(training.step(0.1).left_out, "");
  const auto before = training.state();
  set(training.net().scale, std::numeric_limits<float>::infinity());
  EXPECT_THAT(training.step(0.1).left_out, HasSubstr("the loss is "));
  EXPECT_TRUE(training.state() == before);
  set(training.net().scale, 1);
  set(training.net().factor, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(training.step(0.1).left_out, "the gradient of conv.weight is not finite");
  EXPECT_TRUE(training.state() == before);
  EXPECT_THAT(diverged_text(training), HasSubstr("the gradient of conv.weight is not finite in step 6"));
  set(training.net().factor, 1);
  EXPECT_EQ(training.step(0.1).left_out, "");
  for (const auto& [name, values] : training.state())
    EXPECT_THAT(values, ::testing::Each(::testing::Truly([](float v) { return std::isfinite(v); }))) << name;
}

// Powers of two change no bit where nothing over- or underflows.
TEST_P(Diverging, AScaledLossGivesTheSameUpdate) {
  const Setting setting = {.device = {std::get<0>(GetParam())}, .grad_accum_steps = std::get<1>(GetParam())};
  Setting scaled = setting;
  scaled.scale_loss = true;
  Training plain(setting), other(scaled);
  for (int i = 0; i < 5; ++i) {
    plain.step(0.1);
    other.step(0.1);
  }
  EXPECT_TRUE(plain.state() == other.state());
  EXPECT_EQ(other.train_step().loss_scale(), (LossScale{.scale = 65536, .good_steps = 5}));
}

TEST_P(Diverging, AnOverflowHalvesTheScaleAndLeavesTheStepOut) {
  Training training(
      {.device = {std::get<0>(GetParam())}, .grad_accum_steps = std::get<1>(GetParam()), .scale_loss = true});
  training.step(0.1);
  const auto before = training.trained();
  set(training.net().factor, std::numeric_limits<float>::max());
  EXPECT_EQ(training.step(0.1).left_out, "the gradient of conv.weight is not finite with the loss scaled by 65536");
  EXPECT_TRUE(training.trained() == before);
  EXPECT_EQ(training.train_step().loss_scale(), (LossScale{.scale = 32768, .good_steps = 0, .overflows = 1}));
  EXPECT_EQ(training.train_step().left_out(), 0);
  set(training.net().factor, 1);
  EXPECT_EQ(training.step(0.1).left_out, "");
  EXPECT_EQ(training.train_step().loss_scale(), (LossScale{.scale = 32768, .good_steps = 1, .overflows = 0}));
}

TEST_P(Diverging, AScaleThatNeverHelpsEndsTheTraining) {
  Training training(
      {.device = {std::get<0>(GetParam())}, .grad_accum_steps = std::get<1>(GetParam()), .scale_loss = true});
  training.train_step().restore({.scale = 1, .good_steps = 0, .overflows = kMaxOverflows - 1}, 0);
  set(training.net().factor, std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(training.step(0.1).left_out, HasSubstr("with the loss scaled by 1"));
  EXPECT_THAT(diverged_text(training), HasSubstr("with the loss scaled by 0.5 (51 overflows in a row) in step 1"));
}

// Running statistics and counts included.
TEST_P(Diverging, ARecomputedStepGivesTheSameBits) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Setting setting = {
        .device = {std::get<0>(GetParam())}, .dtype = dtype, .grad_accum_steps = std::get<1>(GetParam())};
    Setting again = setting;
    again.recompute = true;
    Training plain(setting), recomputed(again);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(plain.step(0.1).sums.loss, recomputed.step(0.1).sums.loss);
    EXPECT_TRUE(plain.state() == recomputed.state());
  }
}

TEST_P(Diverging, ARehearsalLeavesNoTrace) {
  const Setting setting = {.device = {std::get<0>(GetParam())}, .grad_accum_steps = std::get<1>(GetParam())};
  Training training(setting);
  const auto before = training.trained();
  training.train_step().rehearse({.count = 7, .height = kSize, .width = kSize}, 3);
  const auto after = training.trained();
  for (const auto& entry : before) EXPECT_NE(std::find(after.begin(), after.end(), entry), after.end()) << entry.first;
  Training fresh(setting);
  training.optimizer().load_state({});
  for (int i = 0; i < 3; ++i) {
    training.step(0.1);
    fresh.step(0.1);
  }
  EXPECT_TRUE(training.state() == fresh.state());
}

INSTANTIATE_TEST_SUITE_P(Devices, Diverging,
                         ::testing::Combine(::testing::Values(DeviceType::cpu, DeviceType::emulated),
                                            ::testing::Values(int64_t{1}, int64_t{2})),
                         [](const auto& instance) {
                           return to_string(Device{std::get<0>(instance.param)}) +
                                  (std::get<1>(instance.param) > 1 ? "Accumulated" : "");
                         });

}  // namespace
}  // namespace engine::testing
