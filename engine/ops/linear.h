#pragma once
#include "engine/tensor.h"

namespace engine {

// y[n,k] = bias[k] + sum_c x[n,c] * w[k,c].  x [N,C] of a float type, w [K,C] f32, bias [K] f32 (optional), y [N,K]
// like x. Filters are rounded to x's dtype, products are summed in f32. Differentiable in x, w and bias.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias = {});

}  // namespace engine
