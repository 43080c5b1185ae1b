#pragma once
// The exponential moving average of a network's weights, in a network of its own, as torchvision's --model-ema: the
// average of a noisy path is often the better network. Parameters and running statistics are averaged, counts are
// copied.
#include <cstdint>

#include "engine/nn/module.h"

namespace engine {

// torchvision's decay for `--model-ema-decay decay`, so that the average reaches back over the same share of a training
// whatever its batch and length: 1 - min(1, (1 - decay) * batch * steps / epochs), with `steps` between two updates and
// `batch` pictures a step.
double model_average_decay(double decay, int64_t batch, int64_t steps, int64_t epochs);

class ModelAverage {
 public:
  // `average` becomes a copy of `model`, which has the same tensors on the same device. Both must outlive this.
  ModelAverage(Module& model, Module& average, double decay);

  // average = decay * average + (1 - decay) * model, or the model itself if this is the first update.
  void update();
  // The next update is the first again: as long as the weights change much they are not worth averaging.
  void restart() { num_updates_ = 0; }

  Module& average() { return average_; }
  // Updates since the first; for checkpoints, together with the state of average().
  int64_t num_updates() const { return num_updates_; }
  void set_num_updates(int64_t count) { num_updates_ = count; }

 private:
  void move(double decay);

  Module& model_;
  Module& average_;
  const double decay_;
  int64_t num_updates_ = 0;
};

}  // namespace engine
