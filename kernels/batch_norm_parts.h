#pragma once
// Private to kernels: sums over the rows of a part. Device code, for .cu files only.
#include "kernels/batch_norm.h"
#include "kernels/vector.h"

namespace engine::kernels {

inline RowParts row_parts(int64_t rows, int64_t channels) {
  // About a thousand blocks for large tensors, of 256 channels at most; a part holds at least 64 rows.
  const int64_t tiles = (channels + 255) / 256, most = tiles < 1024 ? 1024 / tiles : 1;
  int64_t rows_per_part = (rows + most - 1) / most;
  rows_per_part = rows_per_part < 64 ? 64 : (rows_per_part + 31) / 32 * 32;
  return {rows_per_part, (rows + rows_per_part - 1) / rows_per_part};
}

// Adds num_sums values of each channel over the rows of the block, into `sums` of the threads of row 0. The order is
// that of a binary tree over the rows. `shared` holds num_sums * V * kThreads values.
template <int kSums, int V>
GPU_DEVICE void add_rows(Floats<V> (&sums)[kSums], int lanes, float* shared) {
#pragma unroll
  for (int s = 0; s < kSums; ++s)
#pragma unroll
    for (int j = 0; j < V; ++j) shared[(s * V + j) * kThreads + threadIdx.x] = sums[s][j];
  for (int half = kThreads / 2; half >= lanes; half /= 2) {
    __syncthreads();  // the level above has been written
    if (static_cast<int>(threadIdx.x) < half) {
#pragma unroll
      for (int s = 0; s < kSums; ++s)
#pragma unroll
        for (int j = 0; j < V; ++j) {
          float* const at = shared + (s * V + j) * kThreads + threadIdx.x;
          sums[s][j] += at[half];
          *at = sums[s][j];
        }
    }
  }
}

}  // namespace engine::kernels
