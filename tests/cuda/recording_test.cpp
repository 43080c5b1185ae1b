// Work that is recorded as a graph and replayed, on the emulated device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/fallback.h"
#include "engine/ops/elementwise.h"

namespace engine {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Device kDevice = {DeviceType::emulated};
constexpr int64_t kCount = 1000;

Tensor values(float value) {
  return Tensor::full({kCount}, static_cast<double>(value), {DType::f32, kDevice});
}

TEST(Recording, CallsTheWorkTwiceAndThenReplaysIt) {
  clear_fallbacks();
  const std::unique_ptr<Recording> recording = backend(kDevice).make_recording();
  const Tensor x = values(0);
  Tensor y;
  int calls = 0;
  const auto work = [&] {
    ++calls;
    y = {};  // so that the second call needs no more memory than the first
    y = (x + 1.0f) * (x + 2.0f);
  };
  std::vector<bool> called;
  for (int i = 0; i < 5; ++i) {
    Tensor input = x;
    input.copy_from(values(static_cast<float>(i)));
    called.push_back(recording->run(work));
    EXPECT_THAT(y.to_vector<float>(), Each(static_cast<float>((i + 1) * (i + 2)))) << "run " << i;
  }
  EXPECT_THAT(called, ElementsAre(true, true, false, false, false));
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(fallbacks().empty());
}

TEST(Recording, NobodyElseGetsItsMemory) {
  const std::unique_ptr<Recording> recording = backend(kDevice).make_recording();
  const Tensor x = values(3);
  Tensor y;
  const auto work = [&] { y = ((x + 1.0f) * 2.0f + 1.0f) * 2.0f; };  // with results that live for a moment
  for (int i = 0; i < 2; ++i) recording->run(work);
  std::vector<Tensor> others;
  for (int i = 0; i < 20; ++i) others.push_back(values(-1));
  recording->run(work);
  EXPECT_THAT(y.to_vector<float>(), Each(18.0f));
  for (const Tensor& other : others) EXPECT_THAT(other.to_vector<float>(), Each(-1.0f));
}

TEST(Recording, WhatCannotBeRecordedIsDoneEachTime) {
  clear_fallbacks();
  const std::unique_ptr<Recording> recording = backend(kDevice).make_recording();
  const Tensor x = values(2);
  double total = 0;
  for (int i = 0; i < 6; ++i) {
    total = 0;
    EXPECT_TRUE(recording->run([&] { total = sum(x).item(); }));  // reads the result on the host
    EXPECT_EQ(total, 2 * kCount);
  }
  ASSERT_EQ(fallbacks().size(), 1u);
  EXPECT_THAT(fallbacks().begin()->first,
              HasSubstr("emulated: a step could not be recorded as a graph: emulated: a download while a graph is "
                        "recorded; keep it out of recorded work"));
  EXPECT_EQ(fallbacks().begin()->second, 3) << "it is not tried for ever";
  clear_fallbacks();
}

TEST(Recording, ItsMemoryComesBack) {
  const size_t before = memory_stats(kDevice).in_use;
  {
    const std::unique_ptr<Recording> recording = backend(kDevice).make_recording();
    const Tensor x = values(1);
    Tensor y;
    for (int i = 0; i < 3; ++i) recording->run([&] { y = x * 2.0f; });
  }
  EXPECT_EQ(memory_stats(kDevice).in_use, before);
}

TEST(Recording, AnErrorOfTheWorkReachesTheCaller) {
  const std::unique_ptr<Recording> recording = backend(kDevice).make_recording();
  const Tensor x = values(1), y = Tensor::zeros({3}, {DType::f32, kDevice});
  EXPECT_THROW(recording->run([&] { x + y; }), Error);
  Tensor z;
  recording->run([&] { z = x + x; });
  EXPECT_THAT(z.to_vector<float>(), Each(2.0f));
}

TEST(Recording, TheCpuHasNone) {
  EXPECT_EQ(backend({}).make_recording(), nullptr);
}

// The optimiser's part of a recorded step: the rate and the check are read when it happens.
TEST(Recording, HoldsTheOptimiser) {
  const Tensor parameter = values(8), momentum = values(0), grad = values(1);
  const Tensor lr = Tensor::scalar(0, {DType::f32, kDevice}), found = Tensor::zeros({}, {DType::i64, kDevice});
  Backend& device = backend(kDevice);
  const OptimizerParameter updated = {.parameter = parameter, .grad = grad, .momentum = momentum};
  const std::unique_ptr<Recording> recording = device.make_recording();
  int calls = 0;
  const auto step = [&](float rate, float gradient) {
    device.upload(lr.raw(), &rate, sizeof(rate));
    Tensor(grad).copy_from(values(gradient));
    recording->run([&] {
      ++calls;
      device.find_non_finite(std::vector{grad}, found);
      device.optimizer_step(std::vector{updated}, {.rule = {.momentum = 0.5f}, .device_lr = lr, .found = found});
    });
  };
  step(1, 1);
  EXPECT_THAT(parameter.to_vector<float>(), Each(7.0f));
  step(1, 1);  // m = 0.5 * 1 + 1
  EXPECT_THAT(parameter.to_vector<float>(), Each(5.5f));
  step(0.5f, 1.25f);  // m = 0.5 * 1.5 + 1.25
  EXPECT_THAT(parameter.to_vector<float>(), Each(4.5f));
  step(0.5f, std::nanf(""));
  EXPECT_EQ(found.item(), 1);
  EXPECT_THAT(parameter.to_vector<float>(), Each(4.5f));
  EXPECT_THAT(momentum.to_vector<float>(), Each(2.0f));
  step(0.25f, 3);
  EXPECT_EQ(found.item(), 0);
  EXPECT_THAT(parameter.to_vector<float>(), Each(3.5f));
  EXPECT_EQ(calls, 2) << "the other steps are replays";
  EXPECT_EQ(recording->num_kernels(), 2) << "the check and the optimiser";
}

// Each recording has tables of its own: those of an optimiser that came later do not take their place.
TEST(Recording, KeepsItsTables) {
  const Tensor parameter = values(1), grad = values(1), other = values(1), other_grad = values(1);
  Backend& device = backend(kDevice);
  const auto step = [&](const Tensor& p, const Tensor& g) {
    device.optimizer_step(std::vector{OptimizerParameter{.parameter = p, .grad = g, .momentum = {}}}, {.lr = 0.25f});
  };
  const std::unique_ptr<Recording> recording = device.make_recording();
  for (int i = 0; i < 2; ++i) recording->run([&] { step(parameter, grad); });
  for (int i = 0; i < 4; ++i) step(other, other_grad);
  const Tensor in_the_way = values(-1);
  recording->run([&] { step(parameter, grad); });
  EXPECT_THAT(parameter.to_vector<float>(), Each(0.25f));
  EXPECT_THAT(other.to_vector<float>(), Each(0.0f));
}

class FindNonFinite : public ::testing::TestWithParam<DeviceType> {};

TEST_P(FindNonFinite, NamesTheFirst) {
  const Device device = {GetParam()};
  const auto tensor = [&](int64_t count, double value) { return Tensor::full({count}, value, {DType::f32, device}); };
  const Tensor fine = tensor(10'000, 1e30), infinite = tensor(3, 1e300), nan = tensor(5, std::nan(""));
  const auto found = [&](const Tensors& tensors) {
    const Tensor result = Tensor::full({}, 9, {DType::i64, device});
    backend(device).find_non_finite(tensors, result);
    return result.item();
  };
  EXPECT_EQ(found({}), 0);
  EXPECT_EQ(found({fine, fine}), 0);
  EXPECT_EQ(found({fine, infinite, nan}), 2) << "the second of three";
  EXPECT_EQ(found({nan}), 1);
  EXPECT_EQ(found({fine, fine, fine, nan}), 1);
}

INSTANTIATE_TEST_SUITE_P(Devices, FindNonFinite, ::testing::Values(DeviceType::cpu, DeviceType::emulated),
                         [](const auto& instance) { return to_string(Device{instance.param}); });

}  // namespace
}  // namespace engine
