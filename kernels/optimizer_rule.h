#pragma once
// By what rule an optimiser moves a parameter: the same constants for every backend. p is the parameter, g the gradient
// (times a common factor), wd the weight decay, |x| the Euclidean norm over one tensor; all f32.
//
//   sgd    d = g + wd*p;  m = momentum*m + d;  d = nesterov ? d + momentum*m : m;  p -= lr*d        (PyTorch's SGD)
//   lars   the same with d = ratio*(g + wd*p), ratio = trust * |p| / (|g| + wd*|p| + eps)            (timm's Lars)
//   adamw  m = beta1*m + (1-beta1)*g;  v = beta2*v + (1-beta2)*g^2;  p *= 1 - lr*wd;
//          p -= lr * m/c1 / (sqrt(v/c2) + eps),  c = 1 - beta^t in step t = 1, 2, ...                (PyTorch's AdamW)
//   lamb   m, v as adamw;  u = m/c1 / (sqrt(v/c2) + eps) + wd*p;  p -= lr*ratio*u,  ratio = |p|/|u|  (timm's Lamb)
//
// Without weight decay, or where |p| or the other norm is 0, the ratio is 1: norms and biases, which timm does not
// decay, take plain steps. You et al., "Large batch training of convolutional networks" (2017; LARS), and "Large batch
// optimization for deep learning" (2020; LAMB); Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
#include <cstdint>

namespace engine::kernels {

enum class OptimizerKind : uint8_t { sgd, lars, adamw, lamb };

struct OptimizerRule {
  OptimizerKind kind = OptimizerKind::sgd;
  float momentum = 0;  // sgd, lars
  bool nesterov = false;
  float beta1 = 0.9f, beta2 = 0.999f;  // adamw, lamb
  float eps = 1e-8f;                   // all but sgd
  float trust = 0.001f;                // lars

  bool has_moments() const { return kind == OptimizerKind::adamw || kind == OptimizerKind::lamb; }
  bool has_ratio() const { return kind == OptimizerKind::lars || kind == OptimizerKind::lamb; }
};

}  // namespace engine::kernels
