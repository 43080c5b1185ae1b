#pragma once
#include "engine/ops/norm.h"
#include "engine/ops/pool.h"
#include "engine/tensor.h"

namespace engine {

struct Conv2dOptions {
  int64_t stride = 1;
  int64_t padding = 0;  // zeros, on every side
  int64_t groups = 1;
};

// Cross-correlation: y[n,p,q,k] = bias[k] + sum_{r,s,c} x[n, p*stride+r-padding, q*stride+s-padding, c] * w[k,r,s,c].
//   x [N,H,W,C] f32, bf16 or f16    w [K,R,S,C/groups] f32    bias [K] f32, optional    y [N,P,Q,K] like x
// Filters are rounded to x's dtype, products are summed in f32. Differentiable in x, w and bias.
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias = {}, Conv2dOptions options = {});

struct ConvBnOptions {
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t groups = 1;
  Tensor bias;      // [K] f32, optional: the convolution's own bias
  Tensor residual;  // [N,P,Q,K], optional: added before the ReLU
  bool relu = true;
  bool training = true;
};

// relu(batch_norm(conv2d(x, w) + bias) + residual) as one node of the tape.
// Training: batch statistics, running ones are updated. A bias in front of a batch norm cancels: it only shifts
// running_mean, and its gradient is exactly zero. Otherwise (running statistics), without gradients, it is one fused
// convolution. Saved for backward: x, w, the convolution's result, mean, rstd and, with a ReLU, the result itself.
Tensor conv_bn_relu(const Tensor& x, const Tensor& w, const BatchNormState& bn, const ConvBnOptions& options = {});

// max_pool2d(conv_bn_relu(x, w, bn, options), pool) as one node of the tape, which saves the pooled result instead of
// the one before. `options` with ReLU and without residual.
Tensor conv_bn_relu_max_pool(const Tensor& x, const Tensor& w, const BatchNormState& bn, const ConvBnOptions& options,
                             Pool2dOptions pool);

// One branch of conv_bn_join: the tensors of a conv_bn_relu without residual.
struct ConvBnBranch {
  Tensor x, w;
  const BatchNormState& bn;
  ConvBnOptions options;
};

// relu(batch_norm(conv2d(main)) + batch_norm(conv2d(shortcut))) as one node of the tape: the end of a residual block
// whose shortcut is a projection. ReLU and training are those of main.options.
Tensor conv_bn_join(const ConvBnBranch& main, const ConvBnBranch& shortcut);

}  // namespace engine
