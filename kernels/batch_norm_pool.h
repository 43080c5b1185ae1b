#pragma once
// The stem's tail in one pass each way: y = maxpool(relu(x*scale + shift)), without storing the activation between. The
// statistics, batch_norm_finalize and batch_norm_backward_finalize of kernels/batch_norm.h stand around it.
#include <cstdint>

#include "kernels/batch_norm.h"
#include "kernels/pooling.h"
#include "kernels/types.h"

namespace engine::kernels {

// With z = relu(x*scale + shift) rounded to `type`: y and argmax as max_pool_forward of z.
// Moves: x, y and argmax once.
// Needs: as max_pool_forward; argmax is not optional; y and x not overlapping.
struct BatchNormPoolForward {
  Pool2dShape shape;
  DataType type = DataType::f32;
  const void* x = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
  void* y = nullptr;
  uint8_t* argmax = nullptr;
};
bool batch_norm_pool_forward(const BatchNormPoolForward& args, Stream stream);
Cost batch_norm_pool_forward_cost(const BatchNormPoolForward& args);

// With dz[argmax of the window] += y > 0 ? dy : 0:  partials[part] = sum dz, sum dz*(x - mean), the parts being rows of
// y (rows = N*P*Q): pass batch_norm_backward_finalize parts = batch_norm_parts(N*P*Q, C) and rows = N*H*W. Moves: dy,
// y, argmax and the pixels of x that won. Needs: partials of batch_norm_parts(N*P*Q, C).bytes(C).
struct BatchNormPoolBackwardReduce {
  Pool2dShape shape;
  DataType type = DataType::f32;
  const void* dy = nullptr;
  const void* y = nullptr;
  const uint8_t* argmax = nullptr;
  const void* x = nullptr;
  const float* mean = nullptr;
  float* partials = nullptr;
};
bool batch_norm_pool_backward_reduce(const BatchNormPoolBackwardReduce& args, Stream stream);
Cost batch_norm_pool_backward_reduce_cost(const BatchNormPoolBackwardReduce& args);

// dx = a*dz + b*(x - mean) + c, dz as above, gathered from the windows that cover a pixel in ascending order.
// Moves: dy, y, argmax, x and dx once.
// Needs: dx may be x.
struct BatchNormPoolBackwardApply {
  Pool2dShape shape;
  DataType type = DataType::f32;
  const void* dy = nullptr;
  const void* y = nullptr;
  const uint8_t* argmax = nullptr;
  const void* x = nullptr;
  const float* mean = nullptr;
  const float* a = nullptr;
  const float* b = nullptr;
  const float* c = nullptr;
  void* dx = nullptr;
};
bool batch_norm_pool_backward_apply(const BatchNormPoolBackwardApply& args, Stream stream);
Cost batch_norm_pool_backward_apply_cost(const BatchNormPoolBackwardApply& args);

}  // namespace engine::kernels
