// Two ends of a residual network where a normalisation is one pass with what follows: the stem's, whose result goes
// into a max-pool, and that of a block with a projection, which adds a second normalised branch.
#include "engine/cuda/backend.h"

namespace engine::cuda {
void CudaBackend::conv_batch_norm_pool_forward(const ConvBatchNorm& conv, const PoolShape& pool, const Tensor& argmax) {
  const Range range(context_, "conv_batch_norm_pool_forward");
  const char* op = "conv_bn_relu_max_pool";
  const Tensor& x = conv.norm.x;
  const Scratch factors = scratch_floats(2 * conv.shape.k);
  convolve(conv, factors.as<float>());
  context_.check_launch(op, kernels().batch_norm_pool_forward({.shape = pool_shape(pool, x),
                                                               .type = data_type(op, x),
                                                               .x = x.raw(),
                                                               .scale = factors.as<float>(),
                                                               .shift = factors.as<float>() + conv.shape.k,
                                                               .y = conv.norm.y.raw(),
                                                               .argmax = argmax.raw<uint8_t>()},
                                                              stream()));
}

void CudaBackend::batch_norm_pool_backward(const BatchNormBackward& args, const PoolShape& pool, const Tensor& argmax) {
  const Range range(context_, "batch_norm_pool_backward");
  const char* op = "conv_bn_relu_max_pool_backward";
  const kernels::DataType type = data_type(op, args.x);
  const int64_t channels = args.x.size(3);
  const kernels::RowParts parts = kernels().batch_norm_parts(rows_of(args.y), channels);
  const Scratch partials = scratch(parts.bytes(channels)), coefficients = scratch_floats(3 * channels);
  const float* const a = coefficients.as<float>();
  context_.check_launch(op, kernels().batch_norm_pool_backward_reduce({.shape = pool_shape(pool, args.x),
                                                                       .type = type,
                                                                       .dy = args.dy.raw(),
                                                                       .y = args.y.raw(),
                                                                       .argmax = argmax.raw<uint8_t>(),
                                                                       .x = args.x.raw(),
                                                                       .mean = args.mean.raw<float>(),
                                                                       .partials = partials.as<float>()},
                                                                      stream()));
  finalize_backward(args, partials.as<float>(), parts, coefficients.as<float>());
  context_.check_launch(op, kernels().batch_norm_pool_backward_apply({.shape = pool_shape(pool, args.x),
                                                                      .type = type,
                                                                      .dy = args.dy.raw(),
                                                                      .y = args.y.raw(),
                                                                      .argmax = argmax.raw<uint8_t>(),
                                                                      .x = args.x.raw(),
                                                                      .mean = args.mean.raw<float>(),
                                                                      .a = a,
                                                                      .b = a + channels,
                                                                      .c = a + 2 * channels,
                                                                      .dx = args.dx.raw()},
                                                                     stream()));
}

void CudaBackend::conv_batch_norm_join_forward(const ConvBatchNorm& main, const ConvBatchNorm& shortcut) {
  const Range range(context_, "conv_batch_norm_join_forward");
  const char* op = "conv_bn_join";
  const int64_t channels = main.shape.k;
  const Scratch factors = scratch_floats(4 * channels);
  float* const of_main = factors.as<float>();
  float* const of_shortcut = of_main + 2 * channels;
  convolve(shortcut, of_shortcut);
  convolve(main, of_main);
  context_.check_launch(op, kernels().batch_norm_normalize({.type = data_type(op, main.norm.x),
                                                            .rows = rows_of(main.norm.x),
                                                            .channels = channels,
                                                            .x = main.norm.x.raw(),
                                                            .scale = of_main,
                                                            .shift = of_main + channels,
                                                            .residual = shortcut.norm.x.raw(),
                                                            .residual_scale = of_shortcut,
                                                            .residual_shift = of_shortcut + channels,
                                                            .relu = main.norm.relu,
                                                            .y = main.norm.y.raw()},
                                                           stream()));
}

void CudaBackend::batch_norm_join_backward(const BatchNormBackward& main, const BatchNormBackward& shortcut) {
  const Range range(context_, "batch_norm_join_backward");
  const char* op = "conv_bn_join_backward";
  const kernels::DataType type = data_type(op, main.x);
  const int64_t channels = main.x.size(3), rows = rows_of(main.x);
  const kernels::RowParts parts = kernels().batch_norm_parts(rows, channels);
  const Scratch of_main = scratch(parts.bytes(channels)), of_shortcut = scratch(parts.bytes(channels));
  const Scratch coefficients = scratch_floats(6 * channels);
  float* const a = coefficients.as<float>();
  float* const second_a = a + 3 * channels;
  context_.check_launch(op, kernels().batch_norm_backward_reduce({.type = type,
                                                                  .rows = rows,
                                                                  .channels = channels,
                                                                  .dy = main.dy.raw(),
                                                                  .y = pointer_or_null<void>(main.y),
                                                                  .x = main.x.raw(),
                                                                  .mean = main.mean.raw<float>(),
                                                                  .partials = of_main.as<float>(),
                                                                  .second_x = shortcut.x.raw(),
                                                                  .second_mean = shortcut.mean.raw<float>(),
                                                                  .second_partials = of_shortcut.as<float>()},
                                                                 stream()));
  finalize_backward(main, of_main.as<float>(), parts, a);
  finalize_backward(shortcut, of_shortcut.as<float>(), parts, second_a);
  context_.check_launch(op, kernels().batch_norm_backward_apply({.type = type,
                                                                 .rows = rows,
                                                                 .channels = channels,
                                                                 .dy = main.dy.raw(),
                                                                 .y = pointer_or_null<void>(main.y),
                                                                 .x = main.x.raw(),
                                                                 .mean = main.mean.raw<float>(),
                                                                 .a = a,
                                                                 .b = a + channels,
                                                                 .c = a + 2 * channels,
                                                                 .dx = main.dx.raw(),
                                                                 .second_x = shortcut.x.raw(),
                                                                 .second_mean = shortcut.mean.raw<float>(),
                                                                 .second_a = second_a,
                                                                 .second_b = second_a + channels,
                                                                 .second_c = second_a + 2 * channels,
                                                                 .second_dx = shortcut.dx.raw()},
                                                                stream()));
}

}  // namespace engine::cuda
