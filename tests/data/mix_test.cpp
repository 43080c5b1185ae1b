#include "engine/data/mix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/data/goldens.h"

namespace engine {
namespace {

RandomStream stream(uint64_t sample, uint32_t purpose = purpose::kMix) {
  return {7, 1, sample, purpose};
}

// Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2a + 1)); means of 20,000 within four of their deviations.
TEST(SampleBeta, HasItsMeanAndVariance) {
  for (const double alpha : {0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 8.0}) {
    SCOPED_TRACE(alpha);
    constexpr int kCount = 20000;
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < kCount; ++i) {
      RandomStream random = stream(i);
      const double x = sample_beta(alpha, random);
      ASSERT_GE(x, 0);
      ASSERT_LE(x, 1);
      sum += x - 0.5;
      squares += (x - 0.5) * (x - 0.5);
    }
    const double variance = 1 / (4 * (2 * alpha + 1));
    EXPECT_NEAR(sum / kCount, 0, 4 * std::sqrt(variance / kCount));
    // The fourth central moment of a number in [0, 1] around 1/2 is at most variance / 4.
    EXPECT_NEAR(squares / kCount, variance, 4 * std::sqrt(variance / 4 / kCount));
  }
}

// Beta(1, 1) is uniform: each tenth of [0, 1] gets its tenth.
TEST(SampleBeta, IsUniformForAlphaOne) {
  std::array<int, 10> tenths{};
  for (uint64_t i = 0; i < 10000; ++i) {
    RandomStream random = stream(i);
    ++tenths[static_cast<size_t>(sample_beta(1, random) * 9.999999)];
  }
  for (const int count : tenths) EXPECT_NEAR(count, 1000, 120);
}

TEST(Cutmix, CutsTorchvisionsBox) {
  for (const auto& row : golden_rows("cutmix.tsv")) {
    SCOPED_TRACE(testing::PrintToString(row));
    const auto number = [&](size_t i) { return std::stoll(row[i]); };
    const ImageMix mix = cutmix_around(std::stod(row[0]), number(1), number(2), number(3), number(4));
    EXPECT_EQ(mix.left, number(5));
    EXPECT_EQ(mix.top, number(6));
    EXPECT_EQ(mix.right, number(7));
    EXPECT_EQ(mix.bottom, number(8));
    EXPECT_EQ(mix.target_weight, std::stof(row[9]));
    EXPECT_EQ(mix.weight, 1);
  }
}

TEST(ChooseMix, TakesTurnsAsAsked) {
  const MixOptions options = {
      .mixup_alpha = 0.2, .cutmix_alpha = 1, .probability = 0.8, .switch_probability = 0.25, .partner = 3};
  int unmixed = 0, cut = 0, added = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    RandomStream random = stream(i);
    const ImageMix mix = choose_mix(options, 0, 32, 48, random);
    if (mix.partner == 0) {
      ++unmixed;
    } else {
      ASSERT_EQ(mix.partner, 3);
      ++(mix.weight == 1 ? cut : added);
    }
  }
  EXPECT_NEAR(unmixed, 400, 80);
  EXPECT_NEAR(cut, 400, 80);
  EXPECT_NEAR(added, 1200, 100);
}

TEST(ChooseMix, EndsAtTheEpochGiven) {
  const MixOptions options = {.mixup_alpha = 1, .end_epoch = 5};
  for (const int64_t epoch : {4, 5}) {
    RandomStream random = stream(1);
    EXPECT_EQ(choose_mix(options, epoch, 8, 8, random).weight == 1, epoch == 5);
  }
}

TEST(ChooseErased, StaysInsideWithTheAskedAreaAndProportions) {
  int erased = 0;
  double smallest = 1, largest = 0;
  for (uint64_t i = 0; i < 4000; ++i) {
    RandomStream random = stream(i, purpose::kErasing);
    const ErasedBox box = choose_erased({.probability = 0.25}, 224, 176, random);
    if (box.bottom == 0) continue;
    ++erased;
    ASSERT_GE(box.top, 0);
    ASSERT_GE(box.left, 0);
    ASSERT_LE(box.bottom, 224);
    ASSERT_LE(box.right, 176);
    const auto height = static_cast<double>(box.bottom - box.top), width = static_cast<double>(box.right - box.left);
    ASSERT_GE(height / width, 0.3 * 0.95);  // sides are whole pixels
    ASSERT_LE(height / width, 3.3 * 1.05);
    smallest = std::min(smallest, height * width / (224 * 176));
    largest = std::max(largest, height * width / (224 * 176));
  }
  EXPECT_NEAR(erased, 1000, 140);
  EXPECT_NEAR(smallest, 0.02, 0.003);
  EXPECT_NEAR(largest, 0.33, 0.01);
}

TEST(ChooseErased, LeavesOutWhatIsNotAskedFor) {
  RandomStream random = stream(0);
  EXPECT_EQ(choose_erased({}, 32, 32, random).bottom, 0);
}

}  // namespace
}  // namespace engine
