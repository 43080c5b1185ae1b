// Each schedule against its closed form.
#include "engine/optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace {

using engine::Schedule;
using engine::ScheduleKind;

// Rates are computed in double with a handful of roundings.
void expect_rate(const Schedule& schedule, int64_t step, double expected) {
  EXPECT_NEAR(schedule.at(step), expected, 16 * 0x1p-53 * std::abs(schedule.lr)) << "step " << step;
}

double half_cosine(double from, double to, double progress) {
  return to + (from - to) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

TEST(Schedule, Constant) {
  const Schedule schedule = {.kind = ScheduleKind::constant, .lr = 0.3, .total_steps = 10};
  for (int64_t step = 0; step < 10; ++step) expect_rate(schedule, step, 0.3);
}

TEST(Schedule, Step) {
  const Schedule schedule = {.kind = ScheduleKind::step, .lr = 0.8, .total_steps = 100, .step_size = 30, .gamma = 0.5};
  expect_rate(schedule, 0, 0.8);
  expect_rate(schedule, 29, 0.8);
  expect_rate(schedule, 30, 0.4);
  expect_rate(schedule, 59, 0.4);
  expect_rate(schedule, 99, 0.1);
}

TEST(Schedule, Multistep) {
  const Schedule schedule = {
      .kind = ScheduleKind::multistep, .lr = 1, .total_steps = 100, .milestones = {50, 75}, .gamma = 0.1};
  expect_rate(schedule, 49, 1);
  expect_rate(schedule, 50, 0.1);
  expect_rate(schedule, 74, 0.1);
  expect_rate(schedule, 75, 0.1 * 0.1);
}

TEST(Schedule, Cosine) {
  const Schedule schedule = {.kind = ScheduleKind::cosine, .lr = 0.4, .min_lr = 0.1, .total_steps = 20};
  for (int64_t step = 0; step < 20; ++step) {
    expect_rate(schedule, step, half_cosine(0.4, 0.1, static_cast<double>(step) / 20));
  }
  expect_rate(schedule, 10, 0.25);
}

TEST(Schedule, Linear) {
  const Schedule schedule = {.kind = ScheduleKind::linear, .lr = 1, .min_lr = 0.5, .total_steps = 4};
  expect_rate(schedule, 0, 1);
  expect_rate(schedule, 1, 0.875);
  expect_rate(schedule, 3, 0.625);
}

TEST(Schedule, Poly) {
  const Schedule schedule = {.kind = ScheduleKind::poly, .lr = 1, .total_steps = 4, .power = 2};
  expect_rate(schedule, 0, 1);
  expect_rate(schedule, 1, 0.5625);
  expect_rate(schedule, 3, 0.0625);
}

TEST(Schedule, OneCycle) {
  const Schedule schedule = {.kind = ScheduleKind::one_cycle,
                             .lr = 2,
                             .min_lr = 0.01,
                             .total_steps = 101,
                             .one_cycle_start = 0.1,
                             .one_cycle_peak = 0.25};
  expect_rate(schedule, 0, 0.2);
  expect_rate(schedule, 10, half_cosine(0.2, 2, 0.4));
  expect_rate(schedule, 25, 2);
  expect_rate(schedule, 40, half_cosine(2, 0.01, 0.2));
  expect_rate(schedule, 100, 0.01);
}

TEST(Schedule, OneCycleMayPeakAtEitherEnd) {
  Schedule schedule = {.kind = ScheduleKind::one_cycle, .lr = 2, .total_steps = 11, .one_cycle_peak = 0};
  expect_rate(schedule, 0, 2);
  expect_rate(schedule, 10, 0);
  schedule.one_cycle_peak = 1;
  expect_rate(schedule, 0, 2 * 0.04);
  expect_rate(schedule, 10, 2);
}

TEST(Schedule, WarmUpRisesLinearlyToTheBaseRate) {
  Schedule schedule = {.lr = 1, .total_steps = 30, .warmup_steps = 10, .warmup_decay = 0.1};
  for (const ScheduleKind kind :
       {ScheduleKind::constant, ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::poly}) {
    schedule.kind = kind;
    for (int64_t step = 0; step <= 10; ++step) expect_rate(schedule, step, 0.1 + 0.09 * static_cast<double>(step));
  }
  schedule.kind = ScheduleKind::cosine;
  expect_rate(schedule, 20, half_cosine(1, 0, 0.5));  // half of what follows the warm-up
}

TEST(Schedule, WarmUpDoesNotShiftMilestones) {
  const Schedule schedule = {
      .kind = ScheduleKind::step, .lr = 1, .total_steps = 100, .warmup_steps = 5, .step_size = 30, .gamma = 0.5};
  expect_rate(schedule, 29, 1);
  expect_rate(schedule, 30, 0.5);
}

TEST(Schedule, HoldsTheLastRateBeyondTheEnd) {
  const Schedule schedule = {.kind = ScheduleKind::cosine, .lr = 1, .total_steps = 10};
  EXPECT_EQ(schedule.at(10), schedule.at(9));
  EXPECT_EQ(schedule.at(1000), schedule.at(9));
  EXPECT_EQ(schedule.at(-1), schedule.at(0));
}

TEST(Schedule, DegenerateLengthsGiveFiniteRates) {
  for (const ScheduleKind kind :
       {ScheduleKind::constant, ScheduleKind::step, ScheduleKind::multistep, ScheduleKind::cosine, ScheduleKind::linear,
        ScheduleKind::poly, ScheduleKind::one_cycle}) {
    for (const int64_t total : {0, 1, 2}) {
      const Schedule schedule = {.kind = kind, .lr = 1, .total_steps = total, .warmup_steps = 2, .step_size = 0};
      EXPECT_TRUE(std::isfinite(schedule.at(0))) << static_cast<int>(kind) << " " << total;
      EXPECT_TRUE(std::isfinite(schedule.at(1))) << static_cast<int>(kind) << " " << total;
    }
  }
}

}  // namespace
