#include "engine/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace engine {
namespace {

// From `start` to `end` along half a cosine; progress 0 to 1.
double anneal(double start, double end, double progress) {
  return end + (start - end) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}

}  // namespace

double Schedule::at(int64_t step) const {
  step = std::clamp<int64_t>(step, 0, std::max<int64_t>(total_steps - 1, 0));
  if (kind == ScheduleKind::one_cycle) {
    const double last = static_cast<double>(std::max<int64_t>(total_steps - 1, 1));
    const double progress = static_cast<double>(step) / last;
    if (progress <= one_cycle_peak && one_cycle_peak > 0)
      return anneal(lr * one_cycle_start, lr, progress / one_cycle_peak);
    return anneal(lr, min_lr, (progress - one_cycle_peak) / (1 - one_cycle_peak));
  }
  if (step < warmup_steps) {
    const double share = static_cast<double>(step) / static_cast<double>(warmup_steps);
    return lr * (warmup_decay + (1 - warmup_decay) * share);
  }
  const int64_t after = step - warmup_steps;
  const double progress =
      static_cast<double>(after) / static_cast<double>(std::max<int64_t>(total_steps - warmup_steps, 1));
  switch (kind) {
    case ScheduleKind::constant:
      return lr;
    case ScheduleKind::step:
      return lr * std::pow(gamma, static_cast<double>(step / std::max<int64_t>(step_size, 1)));
    case ScheduleKind::multistep:
      return lr *
             std::pow(gamma, static_cast<double>(std::count_if(milestones.begin(), milestones.end(),
                                                               [&](int64_t milestone) { return step >= milestone; })));
    case ScheduleKind::cosine:
      return anneal(lr, min_lr, progress);
    case ScheduleKind::linear:
      return min_lr + (lr - min_lr) * (1 - progress);
    case ScheduleKind::poly:
      return min_lr + (lr - min_lr) * std::pow(1 - progress, power);
    case ScheduleKind::one_cycle:
      break;
  }
  return lr;
}

}  // namespace engine
