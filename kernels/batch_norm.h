#pragma once
// Batch normalisation over the rows of x [rows,C] (NHWC: rows = N*H*W), fused with the ReLU, the residual sum and the
// max-pool around it. Training runs
//   forward:  batch_norm_statistics (or a convolution's epilogue) -> batch_norm_finalize -> batch_norm_normalize
//   backward: batch_norm_backward_reduce (or a convolution's epilogue) -> batch_norm_backward_finalize
//             -> batch_norm_backward_apply
// Statistics are mean and M2 = sum (x - mean)^2, never E[x^2] - E[x]^2. All sums are f32 in parts of rows, the parts
// are merged in f64; the order depends on the shape alone. Activations are of `type`, everything per channel is f32
// [C]. Channels in vectors of 16 bytes where C and the pointers allow it, single elements otherwise.
#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

// Partial results of the rows, one part for `rows_per_part` consecutive rows (the last one for what is left):
// f32 [parts][2][C], mean and M2 in the forward direction, sum dz and sum dz*(x - mean) in the backward one.
struct RowParts {
  int64_t rows_per_part = 0, parts = 0;
  size_t bytes(int64_t channels) const { return static_cast<size_t>(parts * 2 * channels) * sizeof(float); }
};
// The split that batch_norm_statistics, batch_norm_backward_reduce and batch_norm_pool_backward_reduce write.
RowParts batch_norm_parts(int64_t rows, int64_t channels);

// partials[part] = mean, M2 of the part's rows.
// Moves: x once.
// Needs: partials of batch_norm_parts(rows, channels).bytes(channels).
struct BatchNormStatistics {
  DataType type = DataType::f32;
  int64_t rows = 0, channels = 0;
  const void* x = nullptr;
  float* partials = nullptr;
};
bool batch_norm_statistics(const BatchNormStatistics& args, Stream stream);
Cost batch_norm_statistics_cost(const BatchNormStatistics& args);

// Merges the parts into the first: partials[0] = mean, M2 of all rows, or their sums (of batch_norm_backward_reduce).
// Then the parts of several devices, each as one, side by side, are parts for the launches that finalize.
// Moves: partials once.
// Needs: partials may be overwritten. 1 or 2 launches.
struct BatchNormMerge {
  int64_t rows = 0, channels = 0;
  bool sums = false;  // of the backward direction
  float* partials = nullptr;
  RowParts parts;
};
bool batch_norm_merge(const BatchNormMerge& args, Stream stream);
Cost batch_norm_merge_cost(const BatchNormMerge& args);

// Merges the parts:  mean, var (biased) of all rows;  rstd = 1/sqrt(var + eps);  scale = gamma*rstd;  shift = beta -
// mean*scale
//   running_mean = (1-momentum)*running_mean + momentum*(mean + mean_shift)
//   running_var  = (1-momentum)*running_var  + momentum*M2/(rows-1)          (rows = 1: M2, which is 0)
// as PyTorch's BatchNorm2d. mean_shift is the bias of the convolution before, which the normalisation cancels: it is
// left out of x and enters here. With partials null (inference) the running statistics are used and stay as they are,
// mean_shift is not read (running_mean contains it, x has to, too, or the caller subtracts it). Moves: partials once.
// Needs: partials may be overwritten; every output is optional but rstd, scale and shift; nothing overlaps. 1 or 2
// launches.
struct BatchNormFinalize {
  int64_t rows = 0, channels = 0;
  float* partials = nullptr;
  RowParts parts;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  const float* mean_shift = nullptr;  // optional
  float momentum = 0.1f, eps = 1e-5f;
  float* running_mean = nullptr;  // optional when training
  float* running_var = nullptr;   // optional when training
  float* mean = nullptr;
  float* rstd = nullptr;
  float* scale = nullptr;
  float* shift = nullptr;
};
bool batch_norm_finalize(const BatchNormFinalize& args, Stream stream);
Cost batch_norm_finalize_cost(const BatchNormFinalize& args);

// y = act(x*scale + shift + r), r = residual, or residual*residual_scale + residual_shift (a projection shortcut with
// its own normalisation), or 0. Moves: x, residual and y once. Needs: y may be x or residual, other overlaps are not
// allowed; residual_scale and residual_shift both or neither.
struct BatchNormNormalize {
  DataType type = DataType::f32;
  int64_t rows = 0, channels = 0;
  const void* x = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
  const void* residual = nullptr;         // optional
  const float* residual_scale = nullptr;  // optional
  const float* residual_shift = nullptr;  // optional
  bool relu = false;
  void* y = nullptr;
};
bool batch_norm_normalize(const BatchNormNormalize& args, Stream stream);
Cost batch_norm_normalize_cost(const BatchNormNormalize& args);

// With dz = y > 0 ? dy : 0 (dy if y is null):
//   partials[part] = sum dz, sum dz*(x - mean) of the part's rows;  dresidual = dz
// and the same into `second_partials` for a second normalised branch, whose input is second_x: dy and y are read once.
// Moves: dy, y, x (second_x) and dresidual once.
// Needs: partials of batch_norm_parts(rows, channels).bytes(channels); dresidual may be dy; second_x, second_mean and
// second_partials all or none.
struct BatchNormBackwardReduce {
  DataType type = DataType::f32;
  int64_t rows = 0, channels = 0;
  const void* dy = nullptr;
  const void* y = nullptr;  // optional
  const void* x = nullptr;
  const float* mean = nullptr;
  float* partials = nullptr;
  void* dresidual = nullptr;           // optional
  const void* second_x = nullptr;      // optional
  const float* second_mean = nullptr;  // optional
  float* second_partials = nullptr;    // optional
};
bool batch_norm_backward_reduce(const BatchNormBackwardReduce& args, Stream stream);
Cost batch_norm_backward_reduce_cost(const BatchNormBackwardReduce& args);

// dbeta = sum dz, dgamma = rstd * sum dz*(x - mean), and the coefficients of dx = a*dz + b*(x - mean) + c:
//   a = gamma*rstd,  b = -a*rstd*dgamma/rows,  c = -a*dbeta/rows      (b = c = 0 if not training)
// Moves: partials once.
// Needs: partials may be overwritten; a, b, c are optional together. 1 or 2 launches.
struct BatchNormBackwardFinalize {
  int64_t rows = 0, channels = 0;
  float* partials = nullptr;
  RowParts parts;
  const float* gamma = nullptr;
  const float* rstd = nullptr;
  bool training = true;
  float* dgamma = nullptr;
  float* dbeta = nullptr;
  float* a = nullptr;
  float* b = nullptr;
  float* c = nullptr;
};
bool batch_norm_backward_finalize(const BatchNormBackwardFinalize& args, Stream stream);
Cost batch_norm_backward_finalize_cost(const BatchNormBackwardFinalize& args);

// dx = a*dz + b*(x - mean) + c, dz = y > 0 ? dy : 0 (dy if y is null), and the same for a second branch.
// Moves: dy, y, x and dx (second_x, second_dx) once.
// Needs: dx may be x or dy, second_dx may be second_x; pass dresidual as dy and y null
// if it was written. second_* all or none.
struct BatchNormBackwardApply {
  DataType type = DataType::f32;
  int64_t rows = 0, channels = 0;
  const void* dy = nullptr;
  const void* y = nullptr;  // optional
  const void* x = nullptr;
  const float* mean = nullptr;
  const float* a = nullptr;
  const float* b = nullptr;
  const float* c = nullptr;
  void* dx = nullptr;
  const void* second_x = nullptr;  // optional
  const float* second_mean = nullptr;
  const float* second_a = nullptr;
  const float* second_b = nullptr;
  const float* second_c = nullptr;
  void* second_dx = nullptr;
};
bool batch_norm_backward_apply(const BatchNormBackwardApply& args, Stream stream);
Cost batch_norm_backward_apply_cost(const BatchNormBackwardApply& args);

}  // namespace engine::kernels
