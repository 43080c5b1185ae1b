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

class FirstNonFinite : public ::testing::TestWithParam<DeviceType> {};

TEST_P(FirstNonFinite, NamesTheFirst) {
  const Device device = {GetParam()};
  const auto tensor = [&](int64_t count, double value) { return Tensor::full({count}, value, {DType::f32, device}); };
  const Tensor fine = tensor(10'000, 1e30), infinite = tensor(3, 1e300), nan = tensor(5, std::nan(""));
  Backend& tested = backend(device);
  EXPECT_EQ(tested.first_non_finite({}), -1);
  EXPECT_EQ(tested.first_non_finite(std::vector{fine, fine}), -1);
  EXPECT_EQ(tested.first_non_finite(std::vector{fine, infinite, nan}), 1);
  EXPECT_EQ(tested.first_non_finite(std::vector{nan}), 0);
  EXPECT_EQ(tested.first_non_finite(std::vector{fine, fine, fine, nan}), 3);
}

INSTANTIATE_TEST_SUITE_P(Devices, FirstNonFinite, ::testing::Values(DeviceType::cpu, DeviceType::emulated),
                         [](const auto& instance) { return to_string(Device{instance.param}); });

}  // namespace
}  // namespace engine
