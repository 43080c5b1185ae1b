#pragma once
#include "engine/tensor.h"

namespace engine {

// What a batch normalisation over C channels owns. All [C], f32.
struct BatchNormState {
  Tensor gamma, beta;
  Tensor running_mean, running_var;
  float momentum = 0.1f;  // running = (1-momentum)*running + momentum*batch
  float eps = 1e-5f;
};

struct BatchNormOptions {
  bool training = true;  // false: normalise with the running statistics
  bool relu = false;
  Tensor residual;  // optional, like x: added before the ReLU
};

// y = act((x - mean) * rstd * gamma + beta + residual), rstd = 1/sqrt(var + eps), over N, H and W
// (Ioffe and Szegedy 2015, algorithm 1). x, y [N,H,W,C] of any float dtype; statistics are f32.
// In training running_mean and running_var (with the unbiased variance, as PyTorch's BatchNorm2d) are updated in place.
// Differentiable in x, gamma, beta and residual.
Tensor batch_norm(const Tensor& x, const BatchNormState& bn, const BatchNormOptions& options = {});

}  // namespace engine
