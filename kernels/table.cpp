#include "kernels/table.h"

namespace engine::kernels {

const Kernels& kernel_table() {
  static const Kernels table = {
      .conv_fprop = conv_fprop,
      .conv_fprop_parts = conv_fprop_parts,
      .conv_dgrad = conv_dgrad,
      .conv_dgrad_parts = conv_dgrad_parts,
      .conv_wgrad = conv_wgrad,
      .conv_wgrad_workspace = conv_wgrad_workspace,
      .batch_norm_parts = batch_norm_parts,
      .batch_norm_statistics = batch_norm_statistics,
      .batch_norm_merge = batch_norm_merge,
      .batch_norm_finalize = batch_norm_finalize,
      .batch_norm_normalize = batch_norm_normalize,
      .batch_norm_backward_reduce = batch_norm_backward_reduce,
      .batch_norm_backward_finalize = batch_norm_backward_finalize,
      .batch_norm_backward_apply = batch_norm_backward_apply,
      .batch_norm_pool_forward = batch_norm_pool_forward,
      .batch_norm_pool_backward_reduce = batch_norm_pool_backward_reduce,
      .batch_norm_pool_backward_apply = batch_norm_pool_backward_apply,
      .unary = unary,
      .binary = binary,
      .affine = affine,
      .add_relu = add_relu,
      .relu_backward = relu_backward,
      .sum = sum,
      .sum_workspace = sum_workspace,
      .fill = fill,
      .convert = convert,
      .transpose = transpose,
      .subsample_pad = subsample_pad,
      .subsample_pad_backward = subsample_pad_backward,
      .normalize_images = normalize_images,
      .max_pool_forward = max_pool_forward,
      .max_pool_backward = max_pool_backward,
      .avg_pool_forward = avg_pool_forward,
      .avg_pool_backward = avg_pool_backward,
      .global_avg_pool_forward = global_avg_pool_forward,
      .global_avg_pool_backward = global_avg_pool_backward,
      .linear_forward = linear_forward,
      .linear_backward_data = linear_backward_data,
      .linear_backward_weights = linear_backward_weights,
      .column_sum = column_sum,
      .column_sum_workspace = column_sum_workspace,
      .softmax_cross_entropy = softmax_cross_entropy,
      .softmax_cross_entropy_workspace = softmax_cross_entropy_workspace,
      .binary_cross_entropy = binary_cross_entropy,
      .optimizer_step = optimizer_step,
      .optimizer_workspace = optimizer_workspace,
      .find_non_finite = find_non_finite,
      .gradient_norm = gradient_norm,
  };
  return table;
}

}  // namespace engine::kernels
