#include "engine/cuda/backend.h"

namespace engine::cuda {

void CudaBackend::normalize(const BatchNormForward& args, float* partials, const kernels::RowParts& parts) {
  const int64_t channels = args.x.size(3), rows = rows_of(args.x);
  const Scratch factors = scratch(static_cast<size_t>(2 * channels) * sizeof(float));
  float* const scale = factors.as<float>();
  float* const shift = scale + channels;
  context_.check_launch("batch_norm", kernels().batch_norm_finalize({.rows = rows,
                                                                     .channels = channels,
                                                                     .partials = partials,
                                                                     .parts = parts,
                                                                     .gamma = args.gamma.raw<float>(),
                                                                     .beta = args.beta.raw<float>(),
                                                                     .mean_shift = pointer_or_null(args.mean_shift),
                                                                     .momentum = args.momentum,
                                                                     .eps = args.eps,
                                                                     .running_mean = args.running_mean.raw<float>(),
                                                                     .running_var = args.running_var.raw<float>(),
                                                                     .mean = args.mean.raw<float>(),
                                                                     .rstd = args.rstd.raw<float>(),
                                                                     .scale = scale,
                                                                     .shift = shift},
                                                                    stream()));
  context_.check_launch("batch_norm", kernels().batch_norm_normalize({.type = data_type("batch_norm", args.x),
                                                                      .rows = rows,
                                                                      .channels = channels,
                                                                      .x = args.x.raw(),
                                                                      .scale = scale,
                                                                      .shift = shift,
                                                                      .residual = pointer_or_null<void>(args.residual),
                                                                      .relu = args.relu,
                                                                      .y = args.y.raw()},
                                                                     stream()));
}

void CudaBackend::statistics(const Tensor& x, float* partials) {
  context_.check_launch("batch_norm", kernels().batch_norm_statistics({.type = data_type("batch_norm", x),
                                                                       .rows = rows_of(x),
                                                                       .channels = x.size(3),
                                                                       .x = x.raw(),
                                                                       .partials = partials},
                                                                      stream()));
}

void CudaBackend::batch_norm_forward(const BatchNormForward& args) {
  const Range range(context_, "batch_norm_forward");
  if (!args.training) return normalize(args, nullptr, {});
  const int64_t channels = args.x.size(3);
  const kernels::RowParts parts = kernels().batch_norm_parts(rows_of(args.x), channels);
  const Scratch partials = scratch(parts.bytes(channels));
  statistics(args.x, partials.as<float>());
  normalize(args, partials.as<float>(), parts);
}

void CudaBackend::batch_norm_backward(const BatchNormBackward& args) {
  const Range range(context_, "batch_norm_backward");
  const kernels::DataType type = data_type("batch_norm_backward", args.x);
  const int64_t channels = args.x.size(3), rows = rows_of(args.x);
  const kernels::RowParts parts = kernels().batch_norm_parts(rows, channels);
  const Scratch partials = scratch(parts.bytes(channels));
  const Scratch coefficients = scratch(static_cast<size_t>(3 * channels) * sizeof(float));
  float* const a = coefficients.as<float>();
  float* const b = a + channels;
  float* const c = b + channels;
  context_.check_launch("batch_norm_backward",
                        kernels().batch_norm_backward_reduce({.type = type,
                                                              .rows = rows,
                                                              .channels = channels,
                                                              .dy = args.dy.raw(),
                                                              .y = pointer_or_null<void>(args.y),
                                                              .x = args.x.raw(),
                                                              .mean = args.mean.raw<float>(),
                                                              .partials = partials.as<float>(),
                                                              .dresidual = pointer_or_null<void>(args.dresidual)},
                                                             stream()));
  context_.check_launch("batch_norm_backward",
                        kernels().batch_norm_backward_finalize({.rows = rows,
                                                                .channels = channels,
                                                                .partials = partials.as<float>(),
                                                                .parts = parts,
                                                                .gamma = args.gamma.raw<float>(),
                                                                .rstd = args.rstd.raw<float>(),
                                                                .training = args.training,
                                                                .dgamma = args.dgamma.raw<float>(),
                                                                .dbeta = args.dbeta.raw<float>(),
                                                                .a = a,
                                                                .b = b,
                                                                .c = c},
                                                               stream()));
  // The masked gradient is in dresidual already if somebody asked for it.
  const bool masked = args.dresidual.defined();
  context_.check_launch("batch_norm_backward",
                        kernels().batch_norm_backward_apply({.type = type,
                                                             .rows = rows,
                                                             .channels = channels,
                                                             .dy = masked ? args.dresidual.raw() : args.dy.raw(),
                                                             .y = masked ? nullptr : pointer_or_null<void>(args.y),
                                                             .x = args.x.raw(),
                                                             .mean = args.mean.raw<float>(),
                                                             .a = a,
                                                             .b = b,
                                                             .c = c,
                                                             .dx = args.dx.raw()},
                                                            stream()));
}

}  // namespace engine::cuda
