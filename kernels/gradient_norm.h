#pragma once
// The norm of all gradients of a net together, and the factor that clips it.
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

// From the sums of squares that find_non_finite() left:
//   *norm = unscale * sqrt(sum of squares[0 .. num)),  *grad_scale = unscale * min(1, max_norm / (*norm + 1e-6))
// (torch.nn.utils.clip_grad_norm_'s factor), which optimizer_step() multiplies each gradient by. The sum is in double,
// in a fixed order.
// Needs: all pointers on the device. One block.
struct GradientNorm {
  const float* squares = nullptr;
  int64_t num = 0;
  const float* unscale = nullptr;  // optional, 1: what the gradients are to be multiplied by anyway
  float max_norm = 0;              // 0: no clipping
  float* norm = nullptr;
  float* grad_scale = nullptr;  // optional
};
bool gradient_norm(const GradientNorm& args, Stream stream);
Cost gradient_norm_cost(const GradientNorm& args);

}  // namespace engine::kernels
