// SGD over a table of tensors against double precision.
#include "kernels/optimizer.h"

#include <cmath>
#include <deque>
#include <string>

#include "tests/kernels/guarded.h"

namespace engine::testing {
namespace {

using namespace kernels;

struct Case {
  const char* name;
  float momentum;
  bool nesterov, first;
  int64_t offset;      // misaligns all tensors
  DataType half_type;  // f32: no half copies
};

const Case kCases[] = {{"plain", 0, false, false, 0, DataType::f32},
                       {"momentum", 0.9f, false, false, 0, DataType::bf16},
                       {"nesterov", 0.9f, true, false, 0, DataType::f16},
                       {"first_step", 0.9f, false, true, 0, DataType::bf16},
                       {"first_nesterov_step", 0.9f, true, true, 0, DataType::f32},
                       {"misaligned", 0.9f, false, false, 1, DataType::f16},
                       {"misaligned_plain", 0, false, false, 1, DataType::f32}};

class SgdTest : public ::testing::TestWithParam<Case> {};

TEST_P(SgdTest, UpdatesEveryTensorInOneLaunch) {
  const Case& c = GetParam();
  const DataType half = c.half_type == DataType::f32 ? DataType::bf16 : c.half_type;
  const int64_t counts[] = {1, 10, 64, 4096, 4099, 9000, 27};
  struct Tensors {
    int64_t count;
    double decay;
    Array p, g, m;
    Guarded on_p, on_g, on_m, copy;
  };
  std::deque<Tensors> tensors;
  std::vector<SgdTensor> table;
  for (size_t i = 0; i < std::size(counts); ++i) {
    const auto seed = 10 * i;
    const Array p = normal_array(counts[i], DType::f32, seed), g = normal_array(counts[i], DType::f32, seed + 1);
    // A first step must not read the buffer: it holds NaN then.
    const Array m = c.first ? Array(p.size(), std::nan("")) : normal_array(counts[i], DType::f32, seed + 2);
    const float decay = i % 2 == 0 ? 5e-4f : 0.0f;
    tensors.push_back({counts[i], static_cast<double>(decay), p, g, m, floats_of(p, c.offset), floats_of(g, c.offset),
                       floats_of(m, c.offset), Guarded(half, counts[i], c.offset)});
    const Tensors& t = tensors.back();
    table.push_back({.parameter = t.on_p.floats(),
                     .grad = t.on_g.floats(),
                     .momentum_buffer = c.momentum != 0 ? t.on_m.floats() : nullptr,
                     .half_copy = c.half_type != DataType::f32 && i != 2 ? t.copy.data() : nullptr,
                     .count = t.count,
                     .weight_decay = decay});
  }
  const std::vector<SgdChunk> chunks = sgd_chunks(table);
  EXPECT_EQ(chunks.size(), 1u + 1 + 1 + 1 + 2 + 3 + 1);
  const DeviceBuffer<SgdChunk> on_device(chunks);
  const float lr = 0.1f;
  const DeviceBuffer<float> device_lr(std::vector<float>{lr});
  ASSERT_TRUE(sgd_step({.chunks = on_device.data(),
                        .num_chunks = static_cast<int64_t>(chunks.size()),
                        .lr = device_lr.data(),
                        .momentum = c.momentum,
                        .nesterov = c.nesterov,
                        .first = c.first,
                        .half_type = half},
                       nullptr));

  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensors& t = tensors[i];
    SCOPED_TRACE("tensor of " + std::to_string(t.count));
    Expected p{Array(t.p.size()), Array(t.p.size()), 4}, m = p;
    for (size_t j = 0; j < t.p.size(); ++j) {
      const double d = t.g[j] + t.decay * t.p[j], d_size = std::abs(t.g[j]) + t.decay * std::abs(t.p[j]);
      const double mu = static_cast<double>(c.momentum), old = c.first ? 0 : t.m[j];
      m.value[j] = mu * old + d;
      m.magnitude[j] = mu * std::abs(old) + d_size;
      double step = c.momentum != 0 ? m.value[j] : d, size = c.momentum != 0 ? m.magnitude[j] : d_size;
      if (c.nesterov) step = d + mu * m.value[j], size = d_size + mu * m.magnitude[j];
      p.value[j] = t.p[j] - static_cast<double>(lr) * step;
      p.magnitude[j] = std::abs(t.p[j]) + static_cast<double>(lr) * size;
    }
    const Array updated = t.on_p.values();
    EXPECT_TRUE(close_to(updated, p, DType::f32, {t.count}));
    EXPECT_EQ(t.on_g.values(), t.g) << "gradients stay";
    if (c.momentum != 0) {
      EXPECT_TRUE(close_to(t.on_m.values(), m, DType::f32, {t.count}));
    }
    const Array copy = t.copy.values();
    if (table[i].half_copy) {
      EXPECT_EQ(copy, rounded(updated, dtype_of(half))) << "the half copy is the rounded parameter";
    } else {
      EXPECT_TRUE(std::isnan(copy[0]));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, SgdTest, ::testing::ValuesIn(kCases),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(Sgd, IsExactWithSmallNumbers) {
  const Guarded p = floats_of({1, 2, -4}), g = floats_of({2, 0, 4}), m = floats_of({4, -8, 2});
  const std::vector<SgdChunk> chunks = sgd_chunks(
      {{.parameter = p.floats(), .grad = g.floats(), .momentum_buffer = m.floats(), .count = 3, .weight_decay = 0.5f}});
  const DeviceBuffer<SgdChunk> on_device(chunks);
  const DeviceBuffer<float> lr(std::vector<float>{0.25f});
  ASSERT_TRUE(sgd_step({.chunks = on_device.data(), .num_chunks = 1, .lr = lr.data(), .momentum = 0.5f}, nullptr));
  EXPECT_EQ(m.values(), (Array{4.5, -3, 3}));
  EXPECT_EQ(p.values(), (Array{-0.125, 2.75, -4.75}));
}

// A captured step has to follow a schedule: the rate is read when the kernel runs.
TEST(Sgd, ReadsTheLearningRateFromTheDevice) {
  const Guarded p = floats_of({0}), g = floats_of({1});
  const DeviceBuffer<SgdChunk> chunks(sgd_chunks({{.parameter = p.floats(), .grad = g.floats(), .count = 1}}));
  const DeviceBuffer<float> lr(std::vector<float>{1});
  const SgdStep step = {.chunks = chunks.data(), .num_chunks = 1, .lr = lr.data()};
  ASSERT_TRUE(sgd_step(step, nullptr));
  const float halved = 0.5f;
  expect_ok(device().copy_to_device(lr.data(), &halved, sizeof(halved), nullptr), "copy");
  ASSERT_TRUE(sgd_step(step, nullptr));
  EXPECT_EQ(p.values(), Array{-1.5});
}

// A captured step has to stop at a gradient that is not finite, before anybody on the host has looked.
TEST(Sgd, WritesNothingIfItIsToSkip) {
  for (const int64_t offset : {0, 1}) {  // vectors and single elements
    const Array values = normal_array(kSgdChunk + 5, DType::f32, 1);
    const Guarded p = floats_of(values, offset), g = floats_of(values, offset), m = floats_of(values, offset);
    const Guarded copy(DataType::bf16, static_cast<int64_t>(values.size()), offset);
    const DeviceBuffer<SgdChunk> chunks(sgd_chunks({{.parameter = p.floats(),
                                                     .grad = g.floats(),
                                                     .momentum_buffer = m.floats(),
                                                     .half_copy = copy.data(),
                                                     .count = static_cast<int64_t>(values.size()),
                                                     .weight_decay = 0.5f}}));
    const DeviceBuffer<float> lr(std::vector<float>{1});
    const DeviceBuffer<uint32_t> skip(std::vector<uint32_t>{3});
    const SgdStep step = {
        .chunks = chunks.data(), .num_chunks = 2, .lr = lr.data(), .skip = skip.data(), .momentum = 0.5f};
    ASSERT_TRUE(sgd_step(step, nullptr));
    EXPECT_EQ(p.values(), values);
    EXPECT_EQ(m.values(), values);
    EXPECT_TRUE(std::isnan(copy.values()[0]));

    const uint32_t no = 0;
    expect_ok(device().copy_to_device(skip.data(), &no, sizeof(no), nullptr), "copy");
    ASSERT_TRUE(sgd_step(step, nullptr));
    EXPECT_NE(p.values(), values);
    EXPECT_NE(m.values(), values);
    EXPECT_FALSE(std::isnan(copy.values()[0]));
  }
}

TEST(Sgd, RefusesAHalfCopyInF32) {
  const DeviceBuffer<SgdChunk> chunks(1);
  const DeviceBuffer<float> lr(1);
  EXPECT_FALSE(
      sgd_step({.chunks = chunks.data(), .num_chunks = 1, .lr = lr.data(), .half_type = DataType::f32}, nullptr));
  EXPECT_FALSE(sgd_step({.chunks = chunks.data(), .num_chunks = 1}, nullptr)) << "no learning rate";
  EXPECT_TRUE(sgd_step({.num_chunks = 0}, nullptr)) << "nothing to do";
}

TEST(Sgd, CountsItsCost) {
  EXPECT_EQ(sgd_step_cost({.momentum = 0.9f}, 100, true).bytes, 2200);
  EXPECT_EQ(sgd_step_cost({}, 100, false).bytes, 1200);
}

}  // namespace
}  // namespace engine::testing
