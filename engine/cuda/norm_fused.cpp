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
  const Scratch of_main = scratch_floats(2 * main.shape.k), of_shortcut = scratch_floats(2 * main.shape.k);
  convolve(shortcut, of_shortcut.as<float>());
  convolve(main, of_main.as<float>());
  BatchNormForward joined = main.norm;
  joined.residual = shortcut.norm.x;
  normalize(joined, of_main.as<float>(), of_shortcut.as<float>());
}

void CudaBackend::batch_norm_join_backward(const BatchNormBackward& main, const BatchNormBackward& shortcut) {
  const Range range(context_, "batch_norm_join_backward");
  normalize_backward(main, &shortcut);
}

}  // namespace engine::cuda
