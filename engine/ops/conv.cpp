#include "engine/ops/conv.h"

#include <utility>

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/error.h"
#include "engine/ops/check.h"

namespace engine {
namespace {

Conv2dShape check_conv(const char* op, const Tensor& x, const Tensor& w, const Tensor& bias,
                       const Conv2dOptions& options) {
  check_image(op, x);
  check(w.defined() && w.shape().rank() == 4, op, ": w has shape ", w.defined() ? w.shape() : Shape{},
        ", expected [K,R,S,C/groups]");
  check(options.stride >= 1 && options.padding >= 0 && options.groups >= 1, op, ": stride=", options.stride,
        ", padding=", options.padding, ", groups=", options.groups, ", expected stride and groups >= 1, padding >= 0");
  check(x.size(3) % options.groups == 0 && w.size(0) % options.groups == 0, op, ": C=", x.size(3), " and K=", w.size(0),
        " must be multiples of groups=", options.groups);
  check(w.size(3) == x.size(3) / options.groups, op, ": x ", x.shape(), " has C=", x.size(3), ", but w ", w.shape(),
        " expects ", w.size(3) * options.groups);
  check_parameter(op, "w", w, w.shape(), x);
  if (bias.defined()) check_parameter(op, "bias", bias, {w.size(0)}, x);
  const Conv2dShape shape = {.n = x.size(0),
                             .h = x.size(1),
                             .w = x.size(2),
                             .c = x.size(3),
                             .k = w.size(0),
                             .r = w.size(1),
                             .s = w.size(2),
                             .stride = options.stride,
                             .padding = options.padding,
                             .groups = options.groups};
  check(shape.h + 2 * shape.padding >= shape.r && shape.w + 2 * shape.padding >= shape.s, op, ": x ", x.shape(),
        " with padding ", shape.padding, " is smaller than the filter ", w.shape());
  return shape;
}

Shape result_shape(const Conv2dShape& shape) {
  return {shape.n, shape.p(), shape.q(), shape.k};
}

struct ConvGradients {
  Tensor dx, dw, dbias;
};

// The gradients that are wanted; dy in any layout.
ConvGradients conv_gradients(const Conv2dShape& shape, const Tensor& x, const Tensor& w, const Tensor& dy, bool want_dx,
                             bool want_dw, bool want_dbias) {
  ConvGradients gradients;
  Backend& device = backend(x.device());
  if (want_dw || want_dbias) {
    gradients.dw = make_tensor(w.shape(), DType::f32, x.device());
    if (want_dbias) gradients.dbias = make_tensor({shape.k}, DType::f32, x.device());
    device.conv_backward_weights(shape, x, dy, gradients.dw, gradients.dbias);
  }
  if (want_dx) {
    gradients.dx = make_tensor(x.shape(), x.dtype(), x.device(), layout_of(x));
    device.conv_backward_data(shape, dy, w, gradients.dx);
  }
  return gradients;
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, Conv2dOptions options) {
  const Conv2dShape shape = check_conv("conv2d", x, w, bias, options);
  Tensor y = make_activation(result_shape(shape), x.dtype(), x.device());
  backend(x.device()).conv_forward(shape, x, w, bias, y);
  return record(y, {x, w, bias},
                [shape, x = x.detach(), w = w.detach(), want_dx = x.requires_grad(), want_dw = w.requires_grad(),
                 want_dbias = bias.requires_grad()](const Tensor& dy) {
                  auto [dx, dw, dbias] = conv_gradients(shape, x, w, dy, want_dx, want_dw, want_dbias);
                  return Tensors{dx, dw, dbias};
                });
}

Tensor conv_bn_relu(const Tensor& x, const Tensor& w, const BatchNormState& bn, const ConvBnOptions& options) {
  const char* op = "conv_bn_relu";
  const Conv2dShape shape = check_conv(
      op, x, w, options.bias, {.stride = options.stride, .padding = options.padding, .groups = options.groups});
  const Shape result = result_shape(shape);
  check_batch_norm(op, bn, shape.k, x);
  check_training_batch(op, result, options.training);
  const bool has_residual = options.residual.defined();
  if (has_residual) check_residual(op, options.residual, result, x);

  Backend& device = backend(x.device());
  Tensor y = make_activation(result, x.dtype(), x.device());
  Tensor residual = has_residual ? in_layout(options.residual, layout_of(y)) : Tensor{};

  if (!options.training) {
    if (!needs_grad({x, w, options.bias, bn.gamma, bn.beta, options.residual})) {
      device.conv_inference({.shape = shape,
                             .x = x,
                             .w = w,
                             .bias = options.bias,
                             .gamma = bn.gamma,
                             .beta = bn.beta,
                             .running_mean = bn.running_mean,
                             .running_var = bn.running_var,
                             .eps = bn.eps,
                             .residual = residual,
                             .relu = options.relu,
                             .y = y});
      return y;
    }
    return batch_norm(
        conv2d(x, w, options.bias, {.stride = options.stride, .padding = options.padding, .groups = options.groups}),
        bn, {.training = false, .relu = options.relu, .residual = options.residual});
  }

  BatchNormForward forward = {.x = make_tensor(result, x.dtype(), x.device(), layout_of(y)),
                              .gamma = bn.gamma,
                              .beta = bn.beta,
                              .residual = residual,
                              .relu = options.relu,
                              .training = true,
                              .momentum = bn.momentum,
                              .eps = bn.eps,
                              .running_mean = bn.running_mean,
                              .running_var = bn.running_var,
                              .mean_shift = options.bias.defined() ? options.bias.detach() : Tensor{},
                              .y = y,
                              .mean = make_tensor({shape.k}, DType::f32, x.device()),
                              .rstd = make_tensor({shape.k}, DType::f32, x.device())};
  device.conv_batch_norm_forward(shape, x, w, forward);
  bn.running_mean.storage().bump_version();
  bn.running_var.storage().bump_version();
  const Tensor convolved = std::exchange(forward.x, {});

  return record(
      y, {x, w, options.bias, bn.gamma, bn.beta, options.residual},
      [shape, x = x.detach(), w = w.detach(), convolved, mask = options.relu ? y : Tensor{}, gamma = bn.gamma.detach(),
       mean = forward.mean, rstd = forward.rstd, has_residual, want_dx = x.requires_grad(), want_dw = w.requires_grad(),
       has_bias = options.bias.defined()](Tensor dy) mutable {
        // The convolution's result is needed for the last time: its gradient takes its place.
        Tensors norm = batch_norm_gradients({.dy = std::move(dy),
                                             .y = std::exchange(mask, {}),
                                             .x = convolved,
                                             .gamma = gamma,
                                             .mean = mean,
                                             .rstd = rstd,
                                             .dx = convolved},
                                            has_residual);
        auto [dx, dw, none] = conv_gradients(shape, x, w, convolved, want_dx, want_dw, false);
        const Tensor dbias = has_bias ? Tensor::zeros({shape.k}, {DType::f32, x.device()}) : Tensor{};
        return Tensors{dx, dw, dbias, norm[1], norm[2], norm[3]};
      });
}

}  // namespace engine
