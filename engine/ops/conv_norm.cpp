// Convolutions with the normalisation behind them, and with what follows that: a node of the tape each. In training the
// convolution's result is saved, and in the backward pass its gradient takes its place.
#include <utility>

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/error.h"
#include "engine/ops/check.h"
#include "engine/ops/conv.h"

namespace engine {
namespace {

Conv2dOptions conv_options(const ConvBnOptions& options) {
  return {.stride = options.stride, .padding = options.padding, .groups = options.groups};
}

Conv2dShape check_conv_bn(const char* op, const Tensor& x, const Tensor& w, const BatchNormState& bn,
                          const ConvBnOptions& options) {
  const Conv2dShape shape = check_conv(op, x, w, options.bias, conv_options(options));
  check_batch_norm(op, bn, shape.k, x);
  check_training_batch(op, {shape.n, shape.p(), shape.q(), shape.k}, options.training);
  return shape;
}

// All but norm.y; results like an activation of that shape.
ConvBatchNorm begin_training(const Conv2dShape& shape, const Tensor& x, const Tensor& w, const BatchNormState& bn,
                             const ConvBnOptions& options) {
  bn.running_mean.storage().bump_version();
  bn.running_var.storage().bump_version();
  return {.shape = shape,
          .x = x,
          .w = w,
          .norm = {.x = make_activation({shape.n, shape.p(), shape.q(), shape.k}, x.dtype(), x.device()),
                   .gamma = bn.gamma,
                   .beta = bn.beta,
                   .residual = {},
                   .relu = options.relu,
                   .training = true,
                   .momentum = recomputing() ? 0.0f : bn.momentum,
                   .eps = bn.eps,
                   .running_mean = bn.running_mean,
                   .running_var = bn.running_var,
                   .mean_shift = options.bias.defined() ? options.bias.detach() : Tensor{},
                   .y = {},
                   .mean = make_tensor({shape.k}, DType::f32, x.device()),
                   .rstd = make_tensor({shape.k}, DType::f32, x.device())}};
}

// What the backward pass needs of a convolution and its normalisation.
struct Saved {
  Saved(const ConvBatchNorm& conv, const Tensor& bias)
      : shape(conv.shape),
        x(conv.x.detach()),
        w(conv.w.detach()),
        convolved(conv.norm.x),
        gamma(conv.norm.gamma.detach()),
        mean(conv.norm.mean),
        rstd(conv.norm.rstd),
        want_dx(conv.x.requires_grad()),
        want_dw(conv.w.requires_grad()),
        has_bias(bias.defined()) {}

  // The gradient of the convolution's result goes where the result is, which is needed for the last time.
  BatchNormBackward norm(const Tensor& dy, const Tensor& y) const {
    return {.dy = in_layout(dy, layout_of(convolved)),
            // Somebody may have read it since, which turns its storage row-major.
            .y = y.defined() ? in_layout(y, layout_of(convolved)) : Tensor{},
            .x = convolved,
            .gamma = gamma,
            .mean = mean,
            .rstd = rstd,
            .dx = convolved,
            .dgamma = make_tensor(gamma.shape(), DType::f32, x.device()),
            .dbeta = make_tensor(gamma.shape(), DType::f32, x.device())};
  }
  // Of x, w, bias, gamma and beta.
  Tensors gradients(const Tensor& dgamma, const Tensor& dbeta) const {
    auto [dx, dw, none] = conv_gradients(shape, x, w, convolved, want_dx, want_dw, false);
    // A bias in front of a batch norm cancels.
    const Tensor dbias = has_bias ? Tensor::zeros({shape.k}, {DType::f32, x.device()}) : Tensor{};
    return {dx, dw, dbias, dgamma, dbeta};
  }

  Conv2dShape shape;
  Tensor x, w, convolved, gamma, mean, rstd;
  bool want_dx, want_dw, has_bias;
};

}  // namespace

Tensor conv_bn_relu(const Tensor& x, const Tensor& w, const BatchNormState& bn, const ConvBnOptions& options) {
  const char* op = "conv_bn_relu";
  const Conv2dShape shape = check_conv_bn(op, x, w, bn, options);
  const Shape result = {shape.n, shape.p(), shape.q(), shape.k};
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
    return batch_norm(conv2d(x, w, options.bias, conv_options(options)), bn,
                      {.training = false, .relu = options.relu, .residual = options.residual});
  }

  ConvBatchNorm conv = begin_training(shape, x, w, bn, options);
  conv.norm.residual = std::move(residual);
  conv.norm.y = y;
  device.conv_batch_norm_forward(shape, x, w, conv.norm);
  return record(
      y, {x, w, options.bias, bn.gamma, bn.beta, options.residual},
      [saved = Saved(conv, options.bias), mask = options.relu ? y : Tensor{}, has_residual](Tensor dy) mutable {
        Tensors norm = batch_norm_gradients({.dy = std::move(dy),
                                             .y = std::exchange(mask, {}),
                                             .x = saved.convolved,
                                             .gamma = saved.gamma,
                                             .mean = saved.mean,
                                             .rstd = saved.rstd,
                                             .dx = saved.convolved},
                                            has_residual);
        Tensors gradients = saved.gradients(norm[1], norm[2]);
        gradients.push_back(norm[3]);
        return gradients;
      });
}

Tensor conv_bn_relu_max_pool(const Tensor& x, const Tensor& w, const BatchNormState& bn, const ConvBnOptions& options,
                             Pool2dOptions pool) {
  const char* op = "conv_bn_relu_max_pool";
  check(options.relu && !options.residual.defined(), op, ": expected a ReLU and no residual");
  if (!options.training) return max_pool2d(conv_bn_relu(x, w, bn, options), pool);
  const Conv2dShape shape = check_conv_bn(op, x, w, bn, options);
  const Shape pooled = check_pool(op, {shape.n, shape.p(), shape.q(), shape.k}, pool);
  check(pool.window <= 16, op, ": window=", pool.window, ", expected at most 16 (positions are kept in one byte)");
  const PoolShape windows = {.window = pool.window, .stride = pool.stride, .padding = pool.padding};

  ConvBatchNorm conv = begin_training(shape, x, w, bn, options);
  const Layout layout = layout_of(conv.norm.x);
  Tensor y = make_tensor(pooled, x.dtype(), x.device(), layout);
  Tensor argmax = make_tensor(pooled, DType::u8, x.device(), layout);
  conv.norm.y = y;
  backend(x.device()).conv_batch_norm_pool_forward(conv, windows, argmax);
  return record(y, {x, w, options.bias, bn.gamma, bn.beta},
                [saved = Saved(conv, options.bias), y, argmax, windows](Tensor dy) mutable {
                  const BatchNormBackward norm = saved.norm(std::exchange(dy, {}), std::exchange(y, {}));
                  backend(norm.x.device()).batch_norm_pool_backward(norm, windows, std::exchange(argmax, {}));
                  return saved.gradients(norm.dgamma, norm.dbeta);
                });
}

Tensor conv_bn_join(const ConvBnBranch& main, const ConvBnBranch& shortcut) {
  const char* op = "conv_bn_join";
  const auto& [x, w, bn, options] = main;
  check(!options.residual.defined() && !shortcut.options.residual.defined(), op, ": expected no residual");
  check(options.training == shortcut.options.training, op, ": one branch is in training mode, the other is not");
  if (!options.training) {
    ConvBnOptions projection = shortcut.options, joined = options;
    projection.relu = false;
    joined.residual = conv_bn_relu(shortcut.x, shortcut.w, shortcut.bn, projection);
    return conv_bn_relu(x, w, bn, joined);
  }
  const Conv2dShape shape = check_conv_bn(op, x, w, bn, options);
  const Conv2dShape other = check_conv_bn(op, shortcut.x, shortcut.w, shortcut.bn, shortcut.options);
  const Shape result = {shape.n, shape.p(), shape.q(), shape.k};
  check(result == Shape{other.n, other.p(), other.q(), other.k} && x.dtype() == shortcut.x.dtype() &&
            x.device() == shortcut.x.device(),
        op, ": the branches give ", result, " of ", x.dtype(), " on ", x.device(), " and ",
        Shape{other.n, other.p(), other.q(), other.k}, " of ", shortcut.x.dtype(), " on ", shortcut.x.device(),
        "; both must have the same shape, type and device");

  ConvBatchNorm conv = begin_training(shape, x, w, bn, options);
  ConvBatchNorm projection = begin_training(other, shortcut.x, shortcut.w, shortcut.bn, shortcut.options);
  const Tensor y = make_tensor(result, x.dtype(), x.device(), layout_of(conv.norm.x));
  conv.norm.y = y;
  backend(x.device()).conv_batch_norm_join_forward(conv, projection);
  return record(y,
                {x, w, options.bias, bn.gamma, bn.beta, shortcut.x, shortcut.w, shortcut.options.bias,
                 shortcut.bn.gamma, shortcut.bn.beta},
                [first = Saved(conv, options.bias), second = Saved(projection, shortcut.options.bias),
                 mask = options.relu ? y : Tensor{}](Tensor dy) mutable {
                  const BatchNormBackward norm = first.norm(dy, mask), other_norm = second.norm(dy, mask);
                  dy = mask = {};
                  backend(norm.x.device()).batch_norm_join_backward(norm, other_norm);
                  Tensors gradients = first.gradients(norm.dgamma, norm.dbeta);
                  for (Tensor& gradient : second.gradients(other_norm.dgamma, other_norm.dbeta))
                    gradients.push_back(std::move(gradient));
                  return gradients;
                });
}

}  // namespace engine
