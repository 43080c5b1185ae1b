#pragma once
#include <cstdint>

#include "engine/data/loader.h"
#include "engine/optim/sgd.h"
#include "engine/train/metrics.h"
#include "engine/train/trainable.h"

namespace engine {

struct StepOptions {
  InputFormat input;
  int64_t grad_accum_steps = 1;
  float label_smoothing = 0;
};

// One optimiser step: grad_accum_steps batches of `loader` forward and backward, their gradients averaged, then `sgd`
// at the rate `lr`. `step` and `dataset` serve messages. Throws Error(diverged), before anything is updated, if a loss
// or gradient is not finite, naming the step, the samples or the parameter.
MetricSums train_step(const TrainableModel& model, Sgd& sgd, Loader& loader, const Dataset& dataset, Batch& batch,
                      int64_t step, double lr, const StepOptions& options);

}  // namespace engine
