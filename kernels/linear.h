#pragma once
// The classifier: matrix products of any size. bf16 and f16 on tensor cores, f32 by FFMA (never TF32); sums are f32, each
// element's in ascending order of the inner index. Rows that are not multiples of 16 bytes (K = 10 classes) are read
// element by element.
#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

// x [N,C], w [K,C], y [N,K], row-major.
struct LinearShape {
  int64_t n = 0, c = 0, k = 0;
};

// y[n,k] = sum_c x[n,c] w[k,c] + bias[k].
// Moves: x, w, y once (a tile of 64x64 outputs reads its rows again).
// Needs: x, w, y of `type`, bias f32; y overlaps nothing.
struct LinearForward {
  LinearShape shape;
  DataType type = DataType::f32;
  const void* x = nullptr;
  const void* w = nullptr;
  const float* bias = nullptr;  // optional
  void* y = nullptr;
};
bool linear_forward(const LinearForward& args, Stream stream);
Cost linear_forward_cost(const LinearForward& args);

// dx[n,c] = sum_k dy[n,k] w[k,c].
// Moves: dy, w, dx once.
// Needs: all of `type`; dx overlaps nothing.
struct LinearBackwardData {
  LinearShape shape;
  DataType type = DataType::f32;
  const void* dy = nullptr;
  const void* w = nullptr;
  void* dx = nullptr;
};
bool linear_backward_data(const LinearBackwardData& args, Stream stream);
Cost linear_backward_data_cost(const LinearBackwardData& args);

// dw[k,c] = sum_n dy[n,k] x[n,c], overwritten.
// Moves: dy, x, dw once.
// Needs: dy and x of `type`, dw f32; dw overlaps nothing.
struct LinearBackwardWeights {
  LinearShape shape;
  DataType type = DataType::f32;
  const void* x = nullptr;
  const void* dy = nullptr;
  float* dw = nullptr;
};
bool linear_backward_weights(const LinearBackwardWeights& args, Stream stream);
Cost linear_backward_weights_cost(const LinearBackwardWeights& args);

// y[c] = sum_r x[r,c], overwritten: the gradient of a bias. x [rows,channels] of `type`, y f32. Two launches in a fixed
// order.
// Moves: x once.
// Needs: workspace of column_sum_workspace(rows, channels) bytes, aligned to 4, which may hold anything.
struct ColumnSum {
  DataType type = DataType::f32;
  int64_t rows = 0, channels = 0;
  const void* x = nullptr;
  float* y = nullptr;
  void* workspace = nullptr;
};
bool column_sum(const ColumnSum& args, Stream stream);
size_t column_sum_workspace(int64_t rows, int64_t channels);
Cost column_sum_cost(const ColumnSum& args);

}  // namespace engine::kernels
