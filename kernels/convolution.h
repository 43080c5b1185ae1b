#pragma once
// Convolutions as implicit matrix products: x [N,H,W,C], w [K,R,S,C/groups], y [N,P,Q,K], row-major, any stride,
// padding and number of groups. Sums are f32. bf16 and f16 are multiplied by tensor cores (mma.sync), f32 by true f32
// arithmetic, or with `tf32` by tensor cores too: its operands are rounded to TF32's 10 bits of fraction on the way in.
//
// Tensors are 16-byte aligned. Channels (C/groups, K/groups) in whole chunks of 16 bytes, 8 halves or 4 floats, are
// loaded by asynchronous copies; others element by element into the same tiles. Grouped convolutions are correct, not
// fast: each group is a product of its own, and narrow groups leave most of a tile empty.
//
// Every launcher returns false, having launched nothing, if sizes are not positive, groups do not divide C and K, a
// tensor has about 2^31 or more pixels, a required pointer is null, a tensor is not aligned, or optional arguments are
// incomplete. Asynchronous on `stream`. The result depends on the arguments alone and repeats bit by bit.
#include <cstddef>
#include <cstdint>

#include "kernels/batch_norm.h"
#include "kernels/types.h"

namespace engine::kernels {

// y = act(scale[k] * (conv(x, w) + bias[k]) + shift[k] + residual), rounded once to `type`
//   x, w, residual, y of `type`   bias, scale, shift [K] f32   act = max(., 0) if relu (NaN stays NaN)
// Moves   x, w, y and the residual, once each while w stays in L2; 2*N*P*Q*K*R*S*C/groups flops.
// Needs   scale and shift both or neither. partials: conv_fprop_parts(...).bytes(K) bytes, overwritten with mean and M2
//         of y as stored (rounded), for batch_norm_finalize.
// Alias   y may be the residual. It may not overlap x or w.
struct ConvForward {
  Conv2dShape shape;
  DataType type = DataType::f32;
  bool tf32 = false;  // counts for f32 only
  const void* x = nullptr;
  const void* w = nullptr;
  const float* bias = nullptr;     // optional
  const float* scale = nullptr;    // optional, with shift
  const float* shift = nullptr;    // optional, with scale
  const void* residual = nullptr;  // optional, like y
  bool relu = false;
  void* y = nullptr;
  float* partials = nullptr;  // optional, of y
};
bool conv_fprop(const ConvForward& args, Stream stream);
Cost conv_fprop_cost(const ConvForward& args);
RowParts conv_fprop_parts(const Conv2dShape& shape, DataType type);

// dz = relu'(mask) * (conv_transposed(dy, w) + shortcut), rounded once to `type`: relu' is 1 where mask > 0, else 0
//   dy [N,P,Q,K]; w; dx, shortcut, mask, bn_x [N,H,W,C], all of `type`   bn_mean [C] f32
//   partials: sum dz and sum dz * (bn_x - bn_mean[c]) of every channel, dz as stored, for the backward pass of the
//   batch normalisation before the ReLU. Its parts are tiles, which hold no consecutive rows if the stride is not 1.
// Moves   dy, w, dx and each optional tensor, once each while w stays in L2; 2*N*P*Q*K*R*S*C/groups flops: with a
//         stride each class of pixels (h % stride, w % stride) is a convolution with its own taps, nothing is
//         multiplied by a zero in between, and a class without taps only stores.
// Needs   partials, bn_x and bn_mean all or none; partials: conv_dgrad_parts(...).bytes(C) bytes, overwritten.
// Alias   dx may be the shortcut, the mask or bn_x. It may not overlap dy or w.
struct ConvBackwardData {
  Conv2dShape shape;
  DataType type = DataType::f32;
  bool tf32 = false;  // counts for f32 only
  const void* dy = nullptr;
  const void* w = nullptr;
  const void* shortcut = nullptr;  // optional: the gradient that comes along another path
  const void* mask = nullptr;      // optional: the ReLU's output, which is this convolution's x
  const void* bn_x = nullptr;      // optional: the input of the batch normalisation before the ReLU
  const float* bn_mean = nullptr;
  void* dx = nullptr;
  float* partials = nullptr;  // optional
};
bool conv_dgrad(const ConvBackwardData& args, Stream stream);
Cost conv_dgrad_cost(const ConvBackwardData& args);
RowParts conv_dgrad_parts(const Conv2dShape& shape, DataType type);

// dw[k,r,s,c] = sum over pixels of dy[n,p,q,k] * x[n,p*stride+r-padding,q*stride+s-padding,c], dbias[k] = sum of dy
//   x, dy of `type`   dw [K,R,S,C/groups] f32   dbias [K] f32, optional   both overwritten
// Moves   x and dy once for each tile of K or R*S*C (L2 serves most of it), dw once for each split of the pixels, and
//         back once; 2*N*P*Q*K*R*S*C/groups flops. The pixels are split over blocks, and a second launch adds the
//         splits in their order.
// Needs   dw and workspace 16-byte aligned; workspace of conv_wgrad_workspace(...) bytes, which may be null
//         if that is 0. Its content does not matter before and means nothing after.
// Alias   dw, dbias and workspace overlap nothing.
struct ConvBackwardWeights {
  Conv2dShape shape;
  DataType type = DataType::f32;
  bool tf32 = false;  // counts for f32 only
  const void* x = nullptr;
  const void* dy = nullptr;
  float* dw = nullptr;
  float* dbias = nullptr;  // optional
  void* workspace = nullptr;
};
bool conv_wgrad(const ConvBackwardWeights& args, Stream stream);
Cost conv_wgrad_cost(const ConvBackwardWeights& args);
// Enough with and without dbias.
size_t conv_wgrad_workspace(const Conv2dShape& shape, DataType type);

}  // namespace engine::kernels
