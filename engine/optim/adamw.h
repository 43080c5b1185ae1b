#pragma once
#include "engine/optim/optimizer.h"

namespace engine {

struct AdamWOptions {
  float lr = 1e-3f;
  float beta1 = 0.9f, beta2 = 0.999f;
  float eps = 1e-8f;
  float weight_decay = 0.01f;
  std::optional<float> norm_weight_decay = {};  // for gamma and beta; weight_decay if not given
  std::optional<float> bias_weight_decay = {};  // for biases; weight_decay if not given
};

// Adam with decoupled weight decay, as PyTorch's AdamW (Loshchilov and Hutter 2019): m = beta1*m + (1-beta1)*g;
// v = beta2*v + (1-beta2)*g^2; p *= 1 - lr*weight_decay; p -= lr * m/(1-beta1^t) / (sqrt(v/(1-beta2^t)) + eps).
// Keeps exp_avg.*, exp_avg_sq.* and step, which is one number for all parameters.
class AdamW final : public Optimizer {
 public:
  AdamW(std::vector<NamedParameter> parameters, AdamWOptions options);

 private:
  kernels::OptimizerRule rule() const override;

  const AdamWOptions options_;
};

// For AdamW and Lamb. Throws Error(usage).
void check_moments(const char* optimizer, float beta1, float beta2, float eps);

}  // namespace engine
