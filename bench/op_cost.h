#pragma once
// What each operation of the backend's table must at least compute and move, by its operands.
#include <span>

#include "bench/ceilings.h"
#include "engine/backend.h"

namespace engine::bench {

enum class ConvPass : uint8_t { forward, backward_data, backward_weights };

// A strided 1x1 convolution reads only the pixels that it uses. Filters count in the type of the activations, their
// gradient in f32.
OpCost conv_cost(const Conv2dShape& shape, DType dtype, ConvPass pass);
OpCost conv_inference_cost(const ConvInference& args);

// With batch statistics the input is read once for them and once to be normalised; backward likewise for the sums.
OpCost batch_norm_cost(const BatchNormForward& args);
OpCost batch_norm_cost(const BatchNormBackward& args);
// Where the statistics are taken in the convolution's epilogue.
OpCost conv_batch_norm_cost(const Conv2dShape& shape, const BatchNormForward& args);

// With both convolutions of a block's end.
OpCost conv_batch_norm_join_cost(const ConvBatchNorm& main, const ConvBatchNorm& shortcut);
OpCost batch_norm_join_backward_cost(const BatchNormBackward& main, const BatchNormBackward& shortcut);
// Pooled: dy and y. The sums' pass needs as many pixels of x as there are windows.
OpCost batch_norm_pool_backward_cost(const BatchNormBackward& args, const Tensor& argmax);

OpCost linear_cost(const Tensor& x, const Tensor& w, const Tensor& y);
OpCost linear_backward_cost(const Tensor& x, const Tensor& w, const Tensor& dy, const Tensor& dx, const Tensor& dw,
                            const Tensor& dbias);

OpCost optimizer_cost(std::span<const OptimizerParameter> parameters);

// One pass that reads some tensors and writes others; undefined ones count nothing.
OpCost pass_cost(std::initializer_list<const Tensor*> read, std::initializer_list<const Tensor*> written);

}  // namespace engine::bench
