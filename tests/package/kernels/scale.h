#pragma once
#include "kernels/platform.h"
#include "kernels/types.h"

// y = factor * x, `count` elements. Async.
template <engine::kernels::Platform>
bool scale(const float* x, float* y, int64_t count, float factor, engine::kernels::Stream stream);
