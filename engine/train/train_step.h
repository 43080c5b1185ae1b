#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/data/loader.h"
#include "engine/ops/images.h"
#include "engine/optim/optimizer.h"
#include "engine/train/metrics.h"
#include "engine/train/step_times.h"
#include "engine/train/trainable.h"
#include "engine/train/training_loss.h"

namespace engine {

class GradientExchange;
class Recording;

struct StepOptions {
  InputFormat input;
  int64_t grad_accum_steps = 1;
  LossOptions loss = {};
  bool mixes = false, erases = false;    // Batch::mix and Batch::erased count
  float max_grad_norm = 0;               // longer gradients are shortened to it; 0: none is
  GradientExchange* exchange = nullptr;  // of several ranks: their gradients are averaged, and their running statistics
  bool record = true;                    // false: the work of a batch speaks to the host
};

// Optimiser steps of one network. On a device that can, a whole step is recorded once and replayed, from the pictures
// to the updated parameters; with gradients of several batches, one batch and the update are recorded apart. The
// results are the same bits.
class TrainStep {
 public:
  // `model` and `optimizer` must outlive this.
  TrainStep(const TrainableModel& model, Optimizer& optimizer, const StepOptions& options);
  ~TrainStep();
  TrainStep(const TrainStep&) = delete;
  TrainStep& operator=(const TrainStep&) = delete;

  // One step: grad_accum_steps batches of `loader` forward and backward, their gradients averaged, then the optimiser
  // at the rate `lr`. `step` and `dataset` serve messages. Throws Error(diverged), before anything is updated, if a
  // loss or gradient is not finite, naming the step, the samples or the parameter.
  // Error(memory) names the largest batch that would fit, if that could be found out.
  MetricSums run(Loader& loader, const Dataset& dataset, Batch& batch, int64_t step, double lr);
  // The norm of the gradients of that step, all parameters together, before it was clipped.
  double grad_norm() const { return grad_norm_.item(); }

  // Of all steps so far.
  const StepTimes& times() const { return times_; }

 private:
  // What batches of one size need, at addresses that stay.
  struct Prepared {
    Batch shape;  // of the batches; holds no pictures
    Tensor images, labels, logits, loss;
    ImageChoices choices;
    std::unique_ptr<Recording> batch, update;  // null: the device gains nothing from them
    uint64_t versions = 0;                     // of what they read beside the batches
  };

  MetricSums run_batches(Loader& loader, const Dataset& dataset, Batch& batch, int64_t step, double lr);
  // By trying smaller ones, on pictures of nothing; 0 if it cannot be found out. Changes the running statistics.
  int64_t largest_batch(const Batch& tried);
  void prepare(const Batch& batch, bool record);
  void run_batch(const Batch& batch);
  // Adds the gradients of the prepared batch to those of the parameters, `scale` times.
  void forward_backward(double scale);
  void update();
  // The update is not part of what is done for a batch: it needs those of several batches or ranks.
  bool updates_apart() const;
  double share_of_batch() const;  // in the mean that the gradient of a step is
  void exchange();
  uint64_t versions() const;

  const TrainableModel& model_;
  Optimizer& optimizer_;
  const StepOptions options_;
  std::vector<NamedParameter> parameters_;
  std::vector<NamedTensor> buffers_;
  Prepared prepared_;
  StepTimes times_;
  // On the device: what update() reads, and what it says of the gradients.
  Tensor lr_, grad_scale_, found_, grad_norm_;
  std::vector<size_t> checked_;  // the parameters whose gradients update() has looked at
};

}  // namespace engine
