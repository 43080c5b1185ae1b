// Statistics of step times on series that are known.
#include "bench/statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

using namespace engine::bench;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

// base, up and down by at most `jitter` of it, in no order.
std::vector<double> steady(size_t count, double base = 0.1, double jitter = 0.005) {
  std::mt19937 generator(1);
  std::uniform_real_distribution<double> around(1 - jitter, 1 + jitter);
  std::vector<double> steps(count);
  for (double& step : steps) step = base * around(generator);
  return steps;
}

std::vector<double> ramp(size_t count, double from, double to) {
  std::vector<double> steps(count);
  for (size_t i = 0; i < count; ++i)
    steps[i] = from + (to - from) * static_cast<double>(i) / static_cast<double>(count - 1);
  return steps;
}

std::vector<std::string> codes(const Evidence& evidence) {
  std::vector<std::string> found;
  for (const Doubt& doubt : doubts(evidence)) found.push_back(doubt.code);
  return found;
}

Evidence evidence_of(const std::vector<double>& steps) {
  return {.summary = summarize_steps(steps)};
}

}  // namespace

TEST(Quantile, TakesTheValueAtAWholePosition) {
  EXPECT_DOUBLE_EQ(quantile({5, 1, 3}, 0.5), 3);
  EXPECT_DOUBLE_EQ(quantile({5, 1, 3}, 0), 1);
  EXPECT_DOUBLE_EQ(quantile({5, 1, 3}, 1), 5);
}

TEST(Quantile, InterpolatesBetweenPositions) {
  EXPECT_DOUBLE_EQ(quantile({1, 2, 3, 4}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile({10, 20}, 0.05), 10.5);
}

// Ranks from tables of the sign test: n = 6: 1 and 6; 10: 2 and 9; 20: 6 and 15; 100: 40 and 61.
TEST(MedianInterval, HasTheRanksOfTheSignTest) {
  for (const auto& [count, low, high] :
       {std::array{6, 1, 6}, std::array{10, 2, 9}, std::array{20, 6, 15}, std::array{100, 40, 61}}) {
    std::vector<double> values(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) values[static_cast<size_t>(i)] = count - i;
    const auto interval = median_interval(values);
    ASSERT_TRUE(interval) << count;
    EXPECT_DOUBLE_EQ(interval->low, low) << count;
    EXPECT_DOUBLE_EQ(interval->high, high) << count;
  }
}

TEST(MedianInterval, NeedsSixValues) {
  EXPECT_FALSE(median_interval({1, 2, 3, 4, 5}));
  EXPECT_FALSE(median_interval({}));
}

TEST(MedianInterval, CoversTheMedianAsOftenAsItSays) {
  std::mt19937 generator(7);
  std::exponential_distribution<double> draw(1);
  int covered = 0;
  constexpr int kRuns = 2000;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<double> values(25);
    for (double& value : values) value = draw(generator);
    const auto interval = median_interval(values);
    covered += interval->low <= std::log(2) && std::log(2) <= interval->high;
  }
  EXPECT_GE(covered, 0.94 * kRuns);
  EXPECT_LE(covered, 0.98 * kRuns);  // ranks are whole numbers: 25 values give 95.7%
}

TEST(Stability, OfASteadySeries) {
  EXPECT_TRUE(is_stable(steady(10)));
}

TEST(Stability, NeedsTwoWindows) {
  EXPECT_FALSE(is_stable(steady(9)));
}

TEST(Stability, IsNotThereWhileStepsBecomeFaster) {
  EXPECT_FALSE(is_stable(ramp(20, 0.2, 0.1)));
}

TEST(Stability, ForgetsASlowBeginning) {
  std::vector<double> steps = ramp(20, 0.4, 0.1);
  const std::vector<double> after = steady(10);
  steps.insert(steps.end(), after.begin(), after.end());
  EXPECT_TRUE(is_stable(steps));
}

TEST(Stability, OfShortStepsNeedsTime) {
  EXPECT_FALSE(is_stable(steady(100, 1e-3)));  // two windows of 0.25 s are 500 steps
  EXPECT_TRUE(is_stable(steady(520, 1e-3)));
}

TEST(Stability, OfLongStepsNeedsThree) {
  EXPECT_FALSE(is_stable(steady(5, 2)));
  EXPECT_TRUE(is_stable(steady(6, 2)));
}

TEST(Stability, IsNotFooledByOneOutlier) {
  std::vector<double> steps = steady(10);
  steps[7] = 1;
  EXPECT_TRUE(is_stable(steps));
}

TEST(StepSummary, OfAKnownSeries) {
  const Summary summary = summarize_steps(ramp(101, 1, 2));
  EXPECT_EQ(summary.steps, 101u);
  EXPECT_DOUBLE_EQ(summary.median, 1.5);
  EXPECT_DOUBLE_EQ(summary.p5, 1.05);
  EXPECT_DOUBLE_EQ(summary.p95, 1.95);
}

TEST(StepSummary, OfNothingIsEmpty) {
  EXPECT_EQ(summarize_steps({}).steps, 0u);
}

TEST(StepSummary, MeasuresDrift) {
  EXPECT_NEAR(summarize_steps(ramp(30, 1, 1.3)).drift, 1.255 / 1.045 - 1, 0.01);
  EXPECT_NEAR(summarize_steps(steady(30)).drift, 0, 0.01);
}

TEST(StepSummary, CountsOutliers) {
  std::vector<double> steps = steady(100);
  for (size_t i = 0; i < 7; ++i) steps[13 * i] = 0.2;
  EXPECT_DOUBLE_EQ(summarize_steps(steps).outliers, 0.07);
  EXPECT_DOUBLE_EQ(summarize_steps(steady(100)).outliers, 0);
}

TEST(Enough, TakesTenStepsAndANarrowInterval) {
  EXPECT_FALSE(is_enough(summarize_steps(steady(9))));
  EXPECT_TRUE(is_enough(summarize_steps(steady(10))));
  EXPECT_FALSE(is_enough(summarize_steps(steady(10, 0.1, 0.2))));
}

TEST(Enough, IsNotReachedWhileTheTimeDrifts) {
  std::vector<double> steps = steady(40, 0.1);
  const std::vector<double> later = steady(20, 0.08);
  steps.insert(steps.end(), later.begin(), later.end());
  const Summary summary = summarize_steps(steps);
  ASSERT_TRUE(summary.interval && summary.interval->high - summary.interval->low <= 0.02 * summary.median);
  EXPECT_FALSE(is_enough(summary));
}

TEST(Throttling, IsNotSeenInASteadyClock) {
  EXPECT_THAT(throttling({.mhz = steady(30, 1980)}), IsEmpty());
  EXPECT_THAT(throttling({}), IsEmpty());
}

TEST(Throttling, IsSeenInAFallingClock) {
  EXPECT_THAT(throttling({.mhz = ramp(30, 1980, 1500)}), HasSubstr("the clock fell by"));
}

TEST(Throttling, IsNotARisingClock) {
  EXPECT_THAT(throttling({.mhz = ramp(30, 1500, 1980)}), IsEmpty());
}

TEST(Throttling, IsSeenInTheCounters) {
  EXPECT_THAT(throttling({.mhz = steady(30, 1980), .thermal_events = 3}), HasSubstr("3 thermal events"));
}

TEST(Throttling, IsSeenInTheDriversReasons) {
  EXPECT_THAT(throttling({.reasons = kClockThermal}), HasSubstr("heat"));
  EXPECT_THAT(throttling({.reasons = kClockHardwareThermal | kClockHardware}), HasSubstr("heat"));
  EXPECT_THAT(throttling({.reasons = kClockPowerBrake}), HasSubstr("power supply"));
  EXPECT_THAT(throttling({.reasons = kClockHardware}), HasSubstr("hardware"));
}

TEST(Throttling, APowerCapCountsOnlyWithAFallingClock) {
  EXPECT_THAT(throttling({.mhz = steady(30, 1980), .reasons = kClockPowerCap}), IsEmpty());
  EXPECT_THAT(throttling({.mhz = ramp(30, 1980, 1500), .reasons = kClockPowerCap}), HasSubstr("limit of power"));
}

TEST(Doubts, AreNoneOnAQuietMachine) {
  Evidence evidence = evidence_of(steady(50));
  evidence.calibration_before = 0.200;
  evidence.calibration_after = 0.203;
  evidence.other_cpu = 0.02;
  EXPECT_THAT(codes(evidence), IsEmpty());
}

TEST(Doubts, NameAWarmUpThatNeverEnded) {
  Evidence evidence = evidence_of(steady(50));
  evidence.warm = false;
  EXPECT_THAT(codes(evidence), testing::ElementsAre("not_stable"));
}

TEST(Doubts, NameTooFewSteps) {
  EXPECT_THAT(codes(evidence_of(steady(9))), testing::ElementsAre("few_steps"));
}

TEST(Doubts, SayHowManyStepsThereWere) {
  EXPECT_THAT(doubts(evidence_of(steady(4))).front().sentence, HasSubstr("only 4 steps"));
}

TEST(Doubts, NameAWideInterval) {
  EXPECT_THAT(codes(evidence_of(steady(12, 0.1, 0.3))), testing::Contains("wide_interval"));
}

TEST(Doubts, NameADrift) {
  EXPECT_THAT(codes(evidence_of(ramp(200, 1, 1.12))), testing::ElementsAre("drift"));
}

TEST(Doubts, NameOutliers) {
  std::vector<double> steps = steady(100);
  for (size_t i = 0; i < 100; i += 5) steps[i] = 0.2;
  EXPECT_THAT(codes(evidence_of(steps)), testing::IsEmpty());
  for (size_t i = 0; i < 100; i += 10) steps[i + 1] = 0.2;
  EXPECT_THAT(codes(evidence_of(steps)), testing::ElementsAre("outliers"));
}

TEST(Doubts, NameABusyMachine) {
  Evidence evidence = evidence_of(steady(50));
  evidence.other_cpu = 0.08;
  evidence.stolen_cpu = 0.08;
  EXPECT_THAT(codes(evidence), testing::ElementsAre("machine_busy"));
}

TEST(Doubts, NameAMachineThatChanges) {
  Evidence evidence = evidence_of(steady(50));
  evidence.calibration_before = 0.200;
  evidence.calibration_after = 0.240;
  EXPECT_THAT(codes(evidence), testing::ElementsAre("machine_noisy"));
}

TEST(Doubts, NameThrottlingFirst) {
  Evidence evidence = evidence_of(steady(5));
  evidence.clocks.thermal_events = 1;
  EXPECT_THAT(codes(evidence), testing::ElementsAre("throttled", "few_steps"));
}

TEST(Doubts, HaveCodesThatAreListed) {
  Evidence evidence = evidence_of(ramp(8, 1, 3));
  evidence.warm = false;
  evidence.other_cpu = 1;
  evidence.calibration_before = 1;
  evidence.calibration_after = 3;
  evidence.clocks.thermal_events = 1;
  for (const std::string& code : codes(evidence)) EXPECT_THAT(kDoubtCodes, testing::Contains(code));
}
