#include "engine/train/budget.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/train/device_choice.h"
#include "engine/train/pipeline.h"
#include "engine/train/signals.h"
#include "engine/train/train_step.h"

namespace engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kWarmUpSteps = 3;  // algorithms are measured, a step is recorded
constexpr int64_t kSteps = 30;
constexpr double kMostSeconds = 6;  // of measuring, from the second step on
// What an epoch has besides its steps: a forward pass of the validation pictures, and checkpoints, reports, the start.
constexpr double kForwardShare = 1.0 / 3;
constexpr double kUsable = 0.94;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

double measure_epoch_seconds(const TrainSetup& setup) {
  set_up_device(setup.device, setup.config);
  const auto optimizer = make_optimizer(setup.config, setup.model.module->parameters());
  TrainStep step(setup.model, *optimizer, step_options(setup));
  Loader loader(setup.data.train, train_sample(setup.config),
                train_loader_options(setup.config, setup.data.train->size()));
  loader.start(0);
  const int64_t steps = steps_per_epoch(setup.config, setup.facts.train_samples);
  Batch batch;
  auto start = Clock::now();
  int64_t measured = 0;
  double seconds = 0;
  for (int64_t i = 0; i < std::min(steps, kWarmUpSteps + kSteps); ++i) {
    if (stop_signal() != 0 || (measured > 0 && seconds > kMostSeconds)) break;
    step.run(loader, *setup.data.train, batch, i, 1e-6);
    const bool warming_up = i < std::min(kWarmUpSteps, steps - 1) && seconds_since(start) < kMostSeconds;
    if (warming_up) {
      start = Clock::now();
      continue;
    }
    ++measured;
    seconds = seconds_since(start);
  }
  const double step_seconds = seconds / static_cast<double>(std::max<int64_t>(measured, 1));
  const double validation = static_cast<double>(setup.facts.val_samples) /
                            static_cast<double>(global_batch(setup.config)) * step_seconds * kForwardShare;
  return step_seconds * static_cast<double>(steps) + validation;
}

int64_t epochs_within(double minutes, double epoch_seconds, int64_t most) {
  const double fit = std::floor(kUsable * 60 * minutes / std::max(epoch_seconds, 1e-9));
  return static_cast<int64_t>(std::clamp(fit, 1.0, static_cast<double>(std::max<int64_t>(most, 1))));
}

}  // namespace engine
