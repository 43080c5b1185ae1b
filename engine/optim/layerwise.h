#pragma once
// Optimisers for large batches: the rate of each tensor follows the ratio of its norm to that of its step. Both do
// without the ratio where there is no weight decay; the field's default is none for norms and biases.
#include "engine/optim/optimizer.h"

namespace engine {

struct LarsOptions {
  float lr = 1;
  float momentum = 0.9f;
  bool nesterov = false;
  float weight_decay = 0;
  std::optional<float> norm_weight_decay = 0.0f;  // for gamma and beta; weight_decay if not given
  std::optional<float> bias_weight_decay = 0.0f;  // for biases; weight_decay if not given
  float trust = 0.001f;
  float eps = 1e-8f;
};

// SGD on d = ratio*(g + weight_decay*p), ratio = trust * |p| / (|g| + weight_decay*|p| + eps): timm's Lars (You et al.
// 2017). Keeps momentum_buffer.*.
class Lars final : public Optimizer {
 public:
  Lars(std::vector<NamedParameter> parameters, LarsOptions options);

 private:
  kernels::OptimizerRule rule() const override;

  const LarsOptions options_;
};

struct LambOptions {
  float lr = 1e-3f;
  float beta1 = 0.9f, beta2 = 0.999f;
  float eps = 1e-6f;
  float weight_decay = 0.01f;
  std::optional<float> norm_weight_decay = 0.0f;  // for gamma and beta; weight_decay if not given
  std::optional<float> bias_weight_decay = 0.0f;  // for biases; weight_decay if not given
};

// Adam's direction u = m/(1-beta1^t) / (sqrt(v/(1-beta2^t)) + eps) + weight_decay*p, p -= lr * |p|/|u| * u: timm's Lamb
// (You et al. 2020), which also clips the norm of all gradients to 1: StepControl::grad_scale is for that. Keeps
// exp_avg.*, exp_avg_sq.* and step.
class Lamb final : public Optimizer {
 public:
  Lamb(std::vector<NamedParameter> parameters, LambOptions options);

 private:
  kernels::OptimizerRule rule() const override;

  const LambOptions options_;
};

}  // namespace engine
