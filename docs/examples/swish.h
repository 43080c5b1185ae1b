#pragma once
// x * sigmoid(x) and its gradient, each in one pass over memory. Launchers return false if nothing was launched.
#include <cstdint>

#include "kernels/platform.h"
#include "kernels/types.h"

// y[i] = x[i] * sigmoid(x[i])
template <engine::kernels::Platform>
bool swish_forward(const float* x, float* y, int64_t count, engine::kernels::Stream stream);

// dx[i] = dy[i] * (s + x[i] * s * (1 - s)), s = sigmoid(x[i]); dx may be dy
template <engine::kernels::Platform>
bool swish_backward(const float* x, const float* dy, float* dx, int64_t count, engine::kernels::Stream stream);
