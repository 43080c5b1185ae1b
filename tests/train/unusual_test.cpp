#include "engine/train/unusual.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace engine {
namespace {

// Alternating numbers of mean 10 and deviation 2.
double number(int i) {
  return i % 2 == 0 ? 12 : 8;
}

TEST(ZScore, IsTheDistanceInDeviations) {
  ZScore score;
  for (int i = 0; i < 100; ++i) score.add(number(i));
  EXPECT_NEAR(ZScore(score).add(16), 3, 1e-9);
  EXPECT_NEAR(ZScore(score).add(4), -3, 1e-9);
  EXPECT_NEAR(ZScore(score).add(10), 0, 1e-9);
}

TEST(ZScore, SaysNothingOfTheFirst) {
  ZScore score;
  for (int i = 0; i < ZScore::kFirst; ++i) EXPECT_EQ(score.add(i == 20 ? 1000 : number(i)), 0) << i;
  EXPECT_NE(score.add(1000), 0);
}

TEST(ZScore, ForgetsWhatIsLongAgo) {
  ZScore score;
  for (int i = 0; i < 100; ++i) score.add(1e4 + number(i));
  for (int i = 0; i < 40 * ZScore::kWindow; ++i) score.add(number(i));
  EXPECT_NEAR(score.mean, 10, 0.1);
  EXPECT_NEAR(score.variance, 4, 0.1);
}

TEST(ZScore, IsNotSpoiledByWhatIsNotFinite) {
  ZScore score;
  for (int i = 0; i < 100; ++i) score.add(number(i));
  EXPECT_EQ(score.add(std::nan("")), 0);
  EXPECT_EQ(score.add(std::numeric_limits<double>::infinity()), 0);
  EXPECT_NEAR(score.add(16), 3, 1e-9);
}

TEST(ZScore, OfEqualNumbersIsZero) {
  ZScore score;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(score.add(5), 0);
}

TEST(UnusualSteps, KeepsTheWorstUntilTheNextLine) {
  UnusualSteps steps;
  for (int i = 0; i < 100; ++i) steps.add(number(i), 2 * number(i));
  steps.start_line();
  steps.add(16, 20);
  steps.add(10, 40);
  steps.add(10, 20);
  EXPECT_NEAR(steps.loss_z, 3, 1e-9);
  EXPECT_GT(steps.norm_z, 4);
  EXPECT_EQ(steps.last_norm, 20);
  steps.start_line();
  EXPECT_EQ(steps.loss_z, 0);
  EXPECT_EQ(steps.norm_z, 0);
}

}  // namespace
}  // namespace engine
