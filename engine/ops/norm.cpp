#include "engine/ops/norm.h"

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/error.h"
#include "engine/ops/check.h"

namespace engine {

Tensor batch_norm(const Tensor& x, const BatchNormState& bn, const BatchNormOptions& options) {
  check_image("batch_norm", x);
  check_batch_norm("batch_norm", bn, x.size(3), x);
  check_training_batch("batch_norm", x.shape(), options.training);
  const bool has_residual = options.residual.defined();
  if (has_residual) check_residual("batch_norm", options.residual, x.shape(), x);

  const Tensor input = x.detach();
  Tensor y = make_tensor(x.shape(), x.dtype(), x.device(), layout_of(x));
  BatchNormForward forward = {.x = input,
                              .gamma = bn.gamma,
                              .beta = bn.beta,
                              .residual = has_residual ? in_layout(options.residual, layout_of(x)) : Tensor{},
                              .relu = options.relu,
                              .training = options.training,
                              .momentum = recomputing() ? 0.0f : bn.momentum,
                              .eps = bn.eps,
                              .running_mean = bn.running_mean,
                              .running_var = bn.running_var,
                              .mean_shift = {},
                              .y = y,
                              .mean = make_tensor(bn.gamma.shape(), DType::f32, x.device()),
                              .rstd = make_tensor(bn.gamma.shape(), DType::f32, x.device())};
  if (options.training) {
    bn.running_mean.storage().bump_version();
    bn.running_var.storage().bump_version();
  }
  backend(x.device()).batch_norm_forward(forward);

  return record(y, {x, bn.gamma, bn.beta, options.residual},
                [input, mask = options.relu ? y : Tensor{}, gamma = bn.gamma.detach(), mean = forward.mean,
                 rstd = forward.rstd, training = options.training, has_residual](Tensor dy) {
                  return batch_norm_gradients({.dy = std::move(dy),
                                               .y = mask,
                                               .x = input,
                                               .gamma = gamma,
                                               .mean = mean,
                                               .rstd = rstd,
                                               .training = training},
                                              has_residual);
                });
}

Tensors batch_norm_gradients(BatchNormBackward args, bool has_residual) {
  const auto like = [&](const Tensor& x) { return make_tensor(x.shape(), x.dtype(), x.device(), layout_of(args.x)); };
  // Somebody may have read x or y since, which turns its storage row-major.
  args.dy = in_layout(args.dy, layout_of(args.x));
  if (args.y.defined()) args.y = in_layout(args.y, layout_of(args.x));
  const bool dy_is_free = args.dy.unique();
  if (has_residual) {
    // Without a ReLU the residual's gradient is dy itself.
    if (args.y.defined()) args.dresidual = dy_is_free ? args.dy : like(args.dy);
  }
  if (!args.dx.defined()) args.dx = dy_is_free && !has_residual ? args.dy : like(args.x);
  args.dgamma = make_tensor(args.gamma.shape(), DType::f32, args.x.device());
  args.dbeta = make_tensor(args.gamma.shape(), DType::f32, args.x.device());
  backend(args.x.device()).batch_norm_backward(args);
  const Tensor dresidual = args.dresidual.defined() ? args.dresidual : args.dy;
  return {args.dx, args.dgamma, args.dbeta, has_residual ? dresidual : Tensor{}};
}

}  // namespace engine
