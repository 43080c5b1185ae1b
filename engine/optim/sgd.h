#pragma once
#include "engine/optim/optimizer.h"

namespace engine {

struct SgdOptions {
  float lr = 0.1f;
  float momentum = 0.9f;
  bool nesterov = false;
  float weight_decay = 0;
  std::optional<float> norm_weight_decay = {};  // for gamma and beta; weight_decay if not given
  std::optional<float> bias_weight_decay = {};  // for biases; weight_decay if not given
};

// Stochastic gradient descent exactly as PyTorch's: d = grad + weight_decay*p; m = momentum*m + d (m = d at first);
// d = nesterov ? d + momentum*m : m; p -= lr*d. Keeps momentum_buffer.* (nothing if momentum is 0).
class Sgd final : public Optimizer {
 public:
  Sgd(std::vector<NamedParameter> parameters, SgdOptions options);

 private:
  kernels::OptimizerRule rule() const override;

  const float momentum_;
  const bool nesterov_;
};

}  // namespace engine
