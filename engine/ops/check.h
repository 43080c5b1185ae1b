#pragma once
// What several ops check in the same words, and the backward passes that they share. Private to engine/ops.
#include "engine/backend.h"
#include "engine/error.h"
#include "engine/ops/conv.h"
#include "engine/ops/norm.h"
#include "engine/ops/pool.h"
#include "engine/tensor.h"

namespace engine {

inline void check_image(const char* op, const Tensor& x) {
  check(x.defined(), op, ": x is undefined");
  check(x.shape().rank() == 4, op, ": x has shape ", x.shape(), ", expected [N,H,W,C]");
  check(is_floating(x.dtype()), op, ": x ", x.shape(), " holds ", x.dtype(),
        ", expected a float type; see normalize_images");
}

// A parameter or statistic: f32, of the expected shape, on x's device.
inline void check_parameter(const char* op, const char* name, const Tensor& parameter, const Shape& shape,
                            const Tensor& x) {
  check(parameter.defined(), op, ": ", name, " is undefined, expected ", shape);
  check(parameter.shape() == shape, op, ": ", name, " has shape ", parameter.shape(), ", expected ", shape);
  check(parameter.dtype() == DType::f32, op, ": ", name, " holds ", parameter.dtype(),
        ", expected f32 (parameters stay f32)");
  check(parameter.device() == x.device(), op, ": ", name, " is on ", parameter.device(), ", but x is on ", x.device());
}

inline void check_batch_norm(const char* op, const BatchNormState& bn, int64_t channels, const Tensor& x) {
  const Shape shape = {channels};
  check_parameter(op, "gamma", bn.gamma, shape, x);
  check_parameter(op, "beta", bn.beta, shape, x);
  check_parameter(op, "running_mean", bn.running_mean, shape, x);
  check_parameter(op, "running_var", bn.running_var, shape, x);
}

// Batch statistics need more than one value per channel.
inline void check_training_batch(const char* op, const Shape& shape, bool training) {
  check(!training || shape[0] * shape[1] * shape[2] > 1, op, ": ", shape,
        " has one value per channel, training needs more than one; use a larger batch or evaluation mode");
}

inline void check_residual(const char* op, const Tensor& residual, const Shape& shape, const Tensor& x) {
  check(residual.shape() == shape, op, ": the residual has shape ", residual.shape(), ", but the result has ", shape);
  check(residual.dtype() == x.dtype() && residual.device() == x.device(), op, ": the residual holds ", residual.dtype(),
        " on ", residual.device(), ", but x holds ", x.dtype(), " on ", x.device());
}

// The convolution of x with w; `bias` may be undefined.
Conv2dShape check_conv(const char* op, const Tensor& x, const Tensor& w, const Tensor& bias,
                       const Conv2dOptions& options);

// What pooling makes of an image of this shape.
Shape check_pool(const char* op, const Shape& x, const Pool2dOptions& options);

struct ConvGradients {
  Tensor dx, dw, dbias;
};
// The gradients that are wanted; dy in any layout.
ConvGradients conv_gradients(const Conv2dShape& shape, const Tensor& x, const Tensor& w, const Tensor& dy, bool want_dx,
                             bool want_dw, bool want_dbias);

// Gradients of x, gamma, beta and the residual (undefined without one). If args.dx is set the gradient of x goes there.
Tensors batch_norm_gradients(BatchNormBackward args, bool has_residual);

}  // namespace engine
