#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/data/loader.h"
#include "engine/ops/images.h"
#include "engine/optim/optimizer.h"
#include "engine/train/failed_batch.h"
#include "engine/train/loss_scaler.h"
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
  Tensor pictures = {};                  // [samples,H,W,3] u8 on the device: where a placed batch's pictures lie
  float max_grad_norm = 0;               // longer gradients are shortened to it; 0: none is
  GradientExchange* exchange = nullptr;  // of several ranks: their gradients are averaged, and their running statistics
  bool record = true;                    // false: the work of a batch speaks to the host
  bool scale_loss = false;               // for f16: see engine/train/loss_scaler.h
  bool recompute = false;                // the model's stages keep nothing for the backward pass
  int64_t skip_nonfinite = 0;            // steps of a run that may be left out because something is not finite
  // Is given what went into the network when training diverges. The sentence that it returns ends the message.
  std::function<std::string(const FailedBatch&)> on_diverged = {};
};

struct StepResult {
  MetricSums sums;
  std::string left_out;  // why nothing was updated; empty: it was
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
  // at the rate `lr`. `step` and `dataset` serve messages.
  // If a loss or gradient is not finite, nothing is updated: the step is left out, batch norms' statistics too, as long
  // as skip_nonfinite allows it; otherwise throws Error(diverged) naming the step, the samples, the parameter, and what
  // was the first in the network that is not finite. With scale_loss, gradients that overflow leave the step out
  // without counting, up to kMaxOverflows in a row.
  // Error(memory) names the largest batch that would fit, if that could be found out.
  StepResult run(Loader& loader, const Dataset& dataset, Batch& batch, int64_t step, double lr);
  // Takes as much memory as steps of such batches (of `shape` only the sizes count) and a validation will: for finding
  // out whether it is there. Changes the optimiser's state and nothing else. Throws Error(memory).
  void rehearse(const Batch& shape, int64_t val_count);
  // The norm of the gradients of that step, all parameters together, before it was clipped.
  double grad_norm() const { return grad_norm_.item(); }

  // Of all steps so far.
  const StepTimes& times() const { return times_; }

  // What a run has to know to go on: the scale, and the steps left out that skip_nonfinite counts.
  const LossScale& loss_scale() const { return loss_scale_; }
  int64_t left_out() const { return left_out_; }
  void restore(const LossScale& loss_scale, int64_t left_out);

 private:
  // What batches of one size need, at addresses that stay.
  struct Prepared {
    Batch shape;  // of the batches; holds no pictures
    Tensor images, labels, logits, loss;
    Tensor checked_loss;  // that of all ranks; undefined where the host looks at each
    ImageChoices choices;
    std::unique_ptr<Recording> batch, update;  // null: the device gains nothing from them
    uint64_t versions = 0;                     // of what they read beside the batches
  };

  StepResult run_batches(Loader& loader, const Dataset& dataset, Batch& batch, int64_t step, double lr);
  void upload_controls(double lr);
  // After the optimiser: what is not finite, or "".
  std::string find_fault();
  [[noreturn]] void diverge(const Dataset& dataset, const Batch& batch, int64_t step, const std::string& what);
  // What the batch that failed tells: the first that is not finite, and what on_diverged says.
  std::string diagnose(const Batch& batch, int64_t step, const std::string& what);
  void keep_buffers();
  void restore_buffers();
  void fill_gradients(double value);
  // By trying smaller ones, on pictures of nothing; 0 if it cannot be found out. Changes the running statistics.
  int64_t largest_batch(const Batch& tried);
  void prepare(const Batch& batch, bool record);
  void run_batch(const Batch& batch);
  // Of the prepared batch.
  Tensor network_input() const;
  Tensor target() const;
  Tensor forward(const Tensor& images) const;
  // Adds the gradients of the prepared batch to those of the parameters, as its share of the mean over the step.
  void forward_backward();
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
  // On the device: what the passes and update() read, and what update() says of the gradients.
  Tensor lr_, grad_scale_, found_, grad_norm_;
  Tensor gradient_of_loss_, unscale_;  // with scale_loss
  LossScale loss_scale_;
  int64_t left_out_ = 0;
  std::vector<Tensor> kept_buffers_;  // as they were before the step
  std::vector<size_t> checked_;       // the parameters whose gradients update() has looked at
};

}  // namespace engine
