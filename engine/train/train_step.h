#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/loader.h"
#include "engine/optim/sgd.h"
#include "engine/train/metrics.h"
#include "engine/train/trainable.h"

namespace engine {

class Recording;

struct StepOptions {
  InputFormat input;
  int64_t grad_accum_steps = 1;
  float label_smoothing = 0;
};

// Optimiser steps of one network. On a device that can, forward and backward pass are recorded once and replayed: the
// results are the same bits.
class TrainStep {
 public:
  // `model` and `sgd` must outlive this.
  TrainStep(const TrainableModel& model, Sgd& sgd, const StepOptions& options);
  ~TrainStep();
  TrainStep(const TrainStep&) = delete;
  TrainStep& operator=(const TrainStep&) = delete;

  // One step: grad_accum_steps batches of `loader` forward and backward, their gradients averaged, then the optimiser
  // at the rate `lr`. `step` and `dataset` serve messages. Throws Error(diverged), before anything is updated, if a
  // loss or gradient is not finite, naming the step, the samples or the parameter.
  // Error(memory) names the largest batch that would fit, if that could be found out.
  MetricSums run(Loader& loader, const Dataset& dataset, Batch& batch, int64_t step, double lr);

 private:
  struct Recorded {
    std::unique_ptr<Recording> recording;
    Batch shape;  // of the batches that it is for; holds no pictures
    uint64_t versions = 0;
    Tensor images, labels, logits, loss;
    Tensors gradients;
  };

  MetricSums run_batches(Loader& loader, const Dataset& dataset, Batch& batch, int64_t step, double lr);
  // By trying smaller ones, on pictures of nothing; 0 if it cannot be found out. Changes the running statistics.
  int64_t largest_batch(const Batch& tried);
  // Puts the gradients of one batch into the parameters, `scale` times, and returns its logits and loss.
  std::pair<Tensor, Tensor> forward_backward(const Batch& batch, double scale);
  std::pair<Tensor, Tensor> replay(const Batch& batch);
  uint64_t parameter_versions() const;
  std::string find_non_finite_gradient();

  const TrainableModel& model_;
  Sgd& sgd_;
  const StepOptions options_;
  std::vector<NamedParameter> parameters_;
  std::vector<NamedTensor> buffers_;
  Recorded recorded_;
  bool can_record_;
};

}  // namespace engine
