#pragma once
// An optimiser's step in a loop of one's own, of gradients that are looked at first: clipped, found to be finite, and
// divided by what the loss was scaled by.
//
//   CheckedStep checked(net.parameters(), {.max_norm = 1, .scale_loss = dtype == DType::f16});
//   checked.backward(cross_entropy(net(images), labels));
//   if (!checked.step(sgd)) ...  // a gradient was infinite or NaN: the parameters are as they were
#include <vector>

#include "engine/nn/module.h"
#include "engine/optim/optimizer.h"
#include "engine/train/loss_scaler.h"

namespace engine {

struct CheckedStepOptions {
  // All gradients are multiplied by min(1, max_norm / (norm + 1e-6)), norm being that of all of them together
  // (PyTorch's clip_grad_norm_). 0: not clipped.
  float max_norm = 0;
  bool scale_loss = false;  // for activations in f16: engine/train/loss_scaler.h
};

class CheckedStep {
 public:
  // Parameters on one device, which stay there.
  CheckedStep(std::vector<NamedParameter> parameters, const CheckedStepOptions& options = {});

  // loss.backward(), times the scale. More than one before a step add up.
  void backward(const Tensor& loss) const;

  // optimizer.step(), in any case without gradients afterwards. False if one was infinite or NaN: then nothing was
  // updated, and the next loss is scaled by half as much. Waits for the device. Throws Error(diverged), naming the
  // first such parameter, if that happens without a scale, or 50 times in a row: it is not the scale's fault then.
  bool step(Optimizer& optimizer);

  double norm() const { return norm_; }  // of the last step's gradients, before they were clipped
  // Part of what a run needs to go on.
  const LossScale& loss_scale() const { return loss_scale_; }
  void set_loss_scale(const LossScale& scale) { loss_scale_ = scale; }

 private:
  const std::vector<NamedParameter> parameters_;
  const CheckedStepOptions options_;
  LossScale loss_scale_;
  double norm_ = 0;
};

}  // namespace engine
