#pragma once
// Elementwise operations and reductions, all differentiable. Operands have the same shape, float dtype and device; the
// second operand of a binary operation may also have one element.
#include <span>

#include "engine/tensor.h"

namespace engine {

Tensor operator+(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& a, const Tensor& b);
Tensor operator*(const Tensor& a, const Tensor& b);
Tensor operator/(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& x);

Tensor operator+(const Tensor& x, float shift);
Tensor operator+(float shift, const Tensor& x);
Tensor operator-(const Tensor& x, float shift);
Tensor operator-(float minuend, const Tensor& x);
Tensor operator*(const Tensor& x, float scale);
Tensor operator*(float scale, const Tensor& x);
Tensor operator/(const Tensor& x, float divisor);

Tensor relu(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);  // natural; NaN below 0

Tensor sum(const Tensor& x);   // of all elements: [] f32
Tensor mean(const Tensor& x);  // of all elements: [] f32

// relu(a + b) in one pass: the join of a residual block (He et al. 2015, eq. 1).
Tensor add_relu(const Tensor& a, const Tensor& b);

}  // namespace engine
