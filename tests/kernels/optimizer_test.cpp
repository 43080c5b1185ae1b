// Steps over a table of tensors against double precision.
#include "kernels/optimizer.h"

#include <cmath>
#include <deque>
#include <string>

#include "tests/kernels/guarded.h"
#include "tests/optimizer_reference.h"

namespace engine::testing {
namespace {

using namespace kernels;

struct Case {
  const char* name;
  OptimizerRule rule;
  int64_t offset;      // misaligns all tensors
  DataType half_type;  // f32: no half copies
};

constexpr OptimizerKind kSgd = OptimizerKind::sgd, kLars = OptimizerKind::lars, kAdamW = OptimizerKind::adamw,
                        kLamb = OptimizerKind::lamb;

const Case kCases[] = {{"plain", {.kind = kSgd}, 0, DataType::f32},
                       {"momentum", {.kind = kSgd, .momentum = 0.9f}, 0, DataType::bf16},
                       {"nesterov", {.kind = kSgd, .momentum = 0.9f, .nesterov = true}, 0, DataType::f16},
                       {"misaligned", {.kind = kSgd, .momentum = 0.9f}, 1, DataType::f16},
                       {"misaligned_plain", {.kind = kSgd}, 1, DataType::f32},
                       {"lars", {.kind = kLars, .momentum = 0.9f}, 0, DataType::bf16},
                       {"misaligned_lars", {.kind = kLars, .nesterov = false}, 1, DataType::f32},
                       {"adamw", {.kind = kAdamW}, 0, DataType::f16},
                       {"misaligned_adamw", {.kind = kAdamW}, 1, DataType::bf16},
                       {"lamb", {.kind = kLamb, .eps = 1e-6f}, 0, DataType::bf16},
                       {"misaligned_lamb", {.kind = kLamb, .eps = 1e-6f}, 1, DataType::f32}};

class OptimizerTest : public ::testing::TestWithParam<Case> {};

constexpr float kLr = 0.1f, kGradScale = 0.5f;

// With what a launch reads beside the table.
class Step {
 public:
  Step(const OptimizerRule& rule, const std::vector<OptimizerChunk>& chunks, DataType half_type = DataType::bf16)
      : chunks_(chunks), workspace_(optimizer_workspace(rule.kind, static_cast<int64_t>(chunks.size()))) {
    args = {.chunks = chunks_.data(),
            .num_chunks = static_cast<int64_t>(chunks.size()),
            .rule = rule,
            .lr = lr_.data(),
            .grad_scale = grad_scale_.data(),
            .steps = steps.data(),
            .half_type = half_type,
            .workspace = workspace_.data()};
  }
  OptimizerStep args;
  DeviceBuffer<int64_t> steps{std::vector<int64_t>{4}};

 private:
  DeviceBuffer<OptimizerChunk> chunks_;
  DeviceBuffer<float> lr_{std::vector<float>{kLr}}, grad_scale_{std::vector<float>{kGradScale}};
  DeviceBytes workspace_;
};

TEST_P(OptimizerTest, UpdatesEveryTensorAtOnce) {
  const Case& c = GetParam();
  const DataType half = c.half_type == DataType::f32 ? DataType::bf16 : c.half_type;
  const bool moments = c.rule.has_moments(), has_momentum = moments || c.rule.momentum != 0;
  const int64_t counts[] = {1, 10, 64, 4096, 4099, 9000, 27};
  struct Tensors {
    int64_t count;
    Array g;
    OptimizerReference reference;
    Guarded on_p, on_g, on_m, on_v, copy;
  };
  std::deque<Tensors> tensors;
  std::vector<OptimizerTensor> table;
  for (size_t i = 0; i < std::size(counts); ++i) {
    const auto seed = 10 * i;
    const Array p = normal_array(counts[i], DType::f32, seed), g = normal_array(counts[i], DType::f32, seed + 1);
    const Array m = normal_array(counts[i], DType::f32, seed + 2);
    Array v = normal_array(counts[i], DType::f32, seed + 3);
    for (double& x : v) x = rounded(x * x, DType::f32);
    const float decay = i % 2 == 0 ? 5e-4f : 0.0f;
    tensors.push_back({counts[i], g, OptimizerReference(c.rule, double{kLr}, double{decay}, p, m, v, 4),
                       floats_of(p, c.offset), floats_of(g, c.offset), floats_of(m, c.offset), floats_of(v, c.offset),
                       Guarded(half, counts[i], c.offset)});
    const Tensors& t = tensors.back();
    table.push_back({.parameter = t.on_p.floats(),
                     .grad = t.on_g.floats(),
                     .momentum = has_momentum ? t.on_m.floats() : nullptr,
                     .second_moment = moments ? t.on_v.floats() : nullptr,
                     .half_copy = c.half_type != DataType::f32 && i != 2 ? t.copy.data() : nullptr,
                     .count = t.count,
                     .weight_decay = decay});
  }
  const std::vector<OptimizerChunk> chunks = optimizer_chunks(table);
  EXPECT_EQ(chunks.size(), 1u + 1 + 1 + 1 + 2 + 3 + 1);
  const Step step(c.rule, chunks, half);
  ASSERT_TRUE(optimizer_step(step.args, nullptr));

  for (size_t i = 0; i < tensors.size(); ++i) {
    Tensors& t = tensors[i];
    SCOPED_TRACE("tensor of " + std::to_string(t.count));
    t.reference.step(t.g, double{kGradScale});
    const Array updated = t.on_p.values();
    EXPECT_TRUE(close_to(updated, t.reference.parameter(), DType::f32, {t.count}));
    EXPECT_EQ(t.on_g.values(), t.g) << "gradients stay";
    if (has_momentum) {
      EXPECT_TRUE(close_to(t.on_m.values(), t.reference.momentum(), DType::f32, {t.count}));
    }
    if (moments) {
      EXPECT_TRUE(close_to(t.on_v.values(), t.reference.second_moment(), DType::f32, {t.count}));
    }
    const Array copy = t.copy.values();
    if (table[i].half_copy) {
      EXPECT_EQ(copy, rounded(updated, dtype_of(half))) << "the half copy is the rounded parameter";
    } else {
      EXPECT_TRUE(std::isnan(copy[0]));
    }
  }
  EXPECT_EQ(step.steps.values()[0], moments ? 5 : 4);
}

// A captured step has to stop at a gradient that is not finite, before anybody on the host has looked.
TEST_P(OptimizerTest, WritesNothingIfItIsToSkip) {
  const Case& c = GetParam();
  const Array values = normal_array(kOptimizerChunk + 5, DType::f32, 1, 3);
  const Guarded p = floats_of(values, c.offset), g = floats_of(values, c.offset), m = floats_of(values, c.offset);
  const Guarded v = floats_of(values, c.offset);
  const Guarded copy(DataType::bf16, static_cast<int64_t>(values.size()), c.offset);
  Step step(c.rule, optimizer_chunks({{.parameter = p.floats(),
                                       .grad = g.floats(),
                                       .momentum = m.floats(),
                                       .second_moment = v.floats(),
                                       .half_copy = copy.data(),
                                       .count = static_cast<int64_t>(values.size()),
                                       .weight_decay = 0.25f}}));
  const DeviceBuffer<uint32_t> skip(std::vector<uint32_t>{3});
  step.args.skip = skip.data();
  ASSERT_TRUE(optimizer_step(step.args, nullptr));
  EXPECT_EQ(p.values(), values);
  EXPECT_EQ(m.values(), values);
  EXPECT_EQ(v.values(), values);
  EXPECT_EQ(step.steps.values()[0], 4);
  EXPECT_TRUE(std::isnan(copy.values()[0]));

  const uint32_t no = 0;
  expect_ok(device().copy_to_device(skip.data(), &no, sizeof(no), nullptr), "copy");
  ASSERT_TRUE(optimizer_step(step.args, nullptr));
  EXPECT_NE(p.values(), values);
  EXPECT_NE(m.values(), values);
  EXPECT_FALSE(std::isnan(copy.values()[0]));
}

INSTANTIATE_TEST_SUITE_P(Cases, OptimizerTest, ::testing::ValuesIn(kCases),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(Optimizer, IsExactWithSmallNumbers) {
  const Guarded p = floats_of({1, 2, -4}), g = floats_of({2, 0, 4}), m = floats_of({4, -8, 2});
  const DeviceBuffer<OptimizerChunk> chunks(optimizer_chunks(
      {{.parameter = p.floats(), .grad = g.floats(), .momentum = m.floats(), .count = 3, .weight_decay = 0.5f}}));
  const DeviceBuffer<float> lr(std::vector<float>{0.25f});
  ASSERT_TRUE(
      optimizer_step({.chunks = chunks.data(), .num_chunks = 1, .rule = {.momentum = 0.5f}, .lr = lr.data()}, nullptr));
  EXPECT_EQ(m.values(), (Array{4.5, -3, 3}));
  EXPECT_EQ(p.values(), (Array{-0.125, 2.75, -4.75}));
}

// A captured step has to follow a schedule and a scale: both are read when the kernel runs.
TEST(Optimizer, ReadsItsFactorsFromTheDevice) {
  const Guarded p = floats_of({0}), g = floats_of({1});
  const DeviceBuffer<OptimizerChunk> chunks(
      optimizer_chunks({{.parameter = p.floats(), .grad = g.floats(), .count = 1}}));
  const DeviceBuffer<float> lr(std::vector<float>{1}), scale(std::vector<float>{1});
  const OptimizerStep step = {.chunks = chunks.data(), .num_chunks = 1, .lr = lr.data(), .grad_scale = scale.data()};
  ASSERT_TRUE(optimizer_step(step, nullptr));
  const float halved = 0.5f;
  expect_ok(device().copy_to_device(lr.data(), &halved, sizeof(halved), nullptr), "copy");
  ASSERT_TRUE(optimizer_step(step, nullptr));
  EXPECT_EQ(p.values(), Array{-1.5});
  expect_ok(device().copy_to_device(scale.data(), &halved, sizeof(halved), nullptr), "copy");
  ASSERT_TRUE(optimizer_step(step, nullptr));
  EXPECT_EQ(p.values(), Array{-1.75});
}

TEST(Optimizer, RefusesWhatItCannotDo) {
  const DeviceBuffer<OptimizerChunk> chunks(1);
  const DeviceBuffer<float> lr(1);
  const auto refuses = [&](OptimizerStep step) {
    step.chunks = chunks.data();
    step.num_chunks = 1;
    return !optimizer_step(step, nullptr);
  };
  EXPECT_TRUE(refuses({.lr = lr.data(), .half_type = DataType::f32}));
  EXPECT_TRUE(refuses({})) << "no learning rate";
  EXPECT_TRUE(refuses({.rule = {.kind = kAdamW}, .lr = lr.data(), .workspace = lr.data()})) << "no count of steps";
  EXPECT_TRUE(refuses({.rule = {.kind = kLars}, .lr = lr.data()})) << "no workspace";
  EXPECT_TRUE(optimizer_step({.num_chunks = 0}, nullptr)) << "nothing to do";
}

TEST(Optimizer, CountsItsCost) {
  EXPECT_EQ(optimizer_step_cost({.rule = {.momentum = 0.9f}}, 100, true).bytes, 2200);
  EXPECT_EQ(optimizer_step_cost({}, 100, false).bytes, 1200);
  EXPECT_EQ(optimizer_step_cost({.rule = {.kind = kLars, .momentum = 0.9f}}, 100, false).bytes, 2800);
  EXPECT_EQ(optimizer_step_cost({.rule = {.kind = kAdamW}}, 100, true).bytes, 3000);
  EXPECT_EQ(optimizer_step_cost({.rule = {.kind = kLamb}}, 100, false).bytes, 4000);
}

}  // namespace
}  // namespace engine::testing
