#include "row_norm.h"

#include "kernels/gpu.h"

namespace gpu = engine::kernels::gpu;

namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) row_norm_kernel(const float* x, float* y, int64_t columns) {
  GPU_SHARED(float, partial, kThreads);
  const float* row = x + blockIdx.x * columns;
  float sum = 0;
  for (int64_t c = threadIdx.x; c < columns; c += kThreads) sum += row[c] * row[c];
  partial[threadIdx.x] = sum;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();  // the sums of the level above have been written
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  if (threadIdx.x == 0) y[blockIdx.x] = sqrtf(partial[0]);
}

}  // namespace

template <>
bool row_norm<gpu::kPlatform>(const float* x, float* y, int64_t rows, int64_t columns, engine::kernels::Stream stream) {
  if (rows < 0 || rows >= int64_t{1} << 31 || columns < 0 || !x || !y) return false;
  if (rows == 0) return true;
  return gpu::launch(row_norm_kernel, {.grid = static_cast<unsigned>(rows), .block = kThreads, .stream = stream}, x, y,
                     columns);
}
