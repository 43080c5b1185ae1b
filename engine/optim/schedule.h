#pragma once
#include <cstdint>
#include <vector>

namespace engine {

enum class ScheduleKind : uint8_t { constant, step, multistep, cosine, linear, poly, one_cycle };

// Learning rate as a pure function of the step: resuming at any step needs no state.
// Steps are optimiser steps, counted from 0; `total_steps` is the end of training.
struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  double lr = 0.1;          // the base (peak) rate
  double min_lr = 0;        // cosine, linear, poly, one_cycle end here
  int64_t total_steps = 1;  // warm-up included
  int64_t warmup_steps = 0;
  double warmup_decay = 0.01;       // the warm-up starts at lr*warmup_decay and rises linearly
  int64_t step_size = 30;           // step: the rate is multiplied by gamma after each step_size steps
  std::vector<int64_t> milestones;  // multistep: at each of these steps
  double gamma = 0.1;
  double power = 2;               // poly: (1 - progress)^power
  double one_cycle_start = 0.04;  // one_cycle starts at lr*one_cycle_start
  double one_cycle_peak = 0.3;    // and peaks after this share of the steps (Smith and Topin 2018; cosine flanks)

  // The rate of step `step`, 0 <= step < total_steps; beyond the end the last rate.
  double at(int64_t step) const;
};

}  // namespace engine
