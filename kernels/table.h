#pragma once
// Every launcher of the library in one table, as a module hands it out. Contracts stand in the families' headers.
#include "kernels/batch_norm.h"
#include "kernels/batch_norm_pool.h"
#include "kernels/convolution.h"
#include "kernels/elementwise.h"
#include "kernels/gradient_norm.h"
#include "kernels/images.h"
#include "kernels/layout.h"
#include "kernels/linear.h"
#include "kernels/loss.h"
#include "kernels/model_average.h"
#include "kernels/non_finite.h"
#include "kernels/optimizer.h"
#include "kernels/pooling.h"

namespace engine::kernels {

struct Kernels {
  // convolution.h
  decltype(&kernels::conv_fprop) conv_fprop;
  decltype(&kernels::conv_fprop_parts) conv_fprop_parts;
  decltype(&kernels::conv_dgrad) conv_dgrad;
  decltype(&kernels::conv_dgrad_parts) conv_dgrad_parts;
  decltype(&kernels::conv_wgrad) conv_wgrad;
  decltype(&kernels::conv_wgrad_workspace) conv_wgrad_workspace;

  // batch_norm.h, batch_norm_pool.h
  decltype(&kernels::batch_norm_parts) batch_norm_parts;
  decltype(&kernels::batch_norm_statistics) batch_norm_statistics;
  decltype(&kernels::batch_norm_merge) batch_norm_merge;
  decltype(&kernels::batch_norm_finalize) batch_norm_finalize;
  decltype(&kernels::batch_norm_normalize) batch_norm_normalize;
  decltype(&kernels::batch_norm_backward_reduce) batch_norm_backward_reduce;
  decltype(&kernels::batch_norm_backward_finalize) batch_norm_backward_finalize;
  decltype(&kernels::batch_norm_backward_apply) batch_norm_backward_apply;
  decltype(&kernels::batch_norm_pool_forward) batch_norm_pool_forward;
  decltype(&kernels::batch_norm_pool_backward_reduce) batch_norm_pool_backward_reduce;
  decltype(&kernels::batch_norm_pool_backward_apply) batch_norm_pool_backward_apply;

  // elementwise.h, layout.h, images.h
  decltype(&kernels::unary) unary;
  decltype(&kernels::binary) binary;
  decltype(&kernels::affine) affine;
  decltype(&kernels::add_relu) add_relu;
  decltype(&kernels::relu_backward) relu_backward;
  decltype(&kernels::sum) sum;
  decltype(&kernels::sum_workspace) sum_workspace;
  decltype(&kernels::fill) fill;
  decltype(&kernels::convert) convert;
  decltype(&kernels::transpose) transpose;
  decltype(&kernels::subsample_pad) subsample_pad;
  decltype(&kernels::subsample_pad_backward) subsample_pad_backward;
  decltype(&kernels::normalize_images) normalize_images;
  decltype(&kernels::mixed_targets) mixed_targets;

  // pooling.h
  decltype(&kernels::max_pool_forward) max_pool_forward;
  decltype(&kernels::max_pool_backward) max_pool_backward;
  decltype(&kernels::avg_pool_forward) avg_pool_forward;
  decltype(&kernels::avg_pool_backward) avg_pool_backward;
  decltype(&kernels::global_avg_pool_forward) global_avg_pool_forward;
  decltype(&kernels::global_avg_pool_backward) global_avg_pool_backward;

  // linear.h, loss.h, optimizer.h, non_finite.h, gradient_norm.h, model_average.h
  decltype(&kernels::linear_forward) linear_forward;
  decltype(&kernels::linear_backward_data) linear_backward_data;
  decltype(&kernels::linear_backward_weights) linear_backward_weights;
  decltype(&kernels::column_sum) column_sum;
  decltype(&kernels::column_sum_workspace) column_sum_workspace;
  decltype(&kernels::softmax_cross_entropy) softmax_cross_entropy;
  decltype(&kernels::softmax_cross_entropy_workspace) softmax_cross_entropy_workspace;
  decltype(&kernels::binary_cross_entropy) binary_cross_entropy;
  decltype(&kernels::optimizer_step) optimizer_step;
  decltype(&kernels::optimizer_workspace) optimizer_workspace;
  decltype(&kernels::find_non_finite) find_non_finite;
  decltype(&kernels::gradient_norm) gradient_norm;
  decltype(&kernels::model_average) model_average;
};

// The launchers that this table's translation unit was linked with.
const Kernels& kernel_table();

}  // namespace engine::kernels
