#pragma once
#include "kernels/platform.h"
#include "kernels/types.h"

// y[r] = sqrt(sum over c of x[r,c]^2), x [rows,columns] and y [rows] of f32. A block adds up a row, always in the same
// order.
// Moves: x and y once.
// Needs: x and y do not overlap; 0 <= rows < 2^31. Async.
template <engine::kernels::Platform>
bool row_norm(const float* x, float* y, int64_t rows, int64_t columns, engine::kernels::Stream stream);

inline engine::kernels::Cost row_norm_cost(int64_t rows, int64_t columns) {
  return {.bytes = 4 * (rows * columns + rows), .flops = 2 * rows * columns};
}
