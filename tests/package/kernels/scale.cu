#include <scale.h>

#include "kernels/gpu.h"

namespace gpu = engine::kernels::gpu;

namespace {

__global__ void scale_kernel(const float* x, float* y, int64_t count, float factor) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) y[i] = factor * x[i];
}

}  // namespace

template <>
bool scale<gpu::kPlatform>(const float* x, float* y, int64_t count, float factor, engine::kernels::Stream stream) {
  const auto blocks = static_cast<unsigned>((count + 255) / 256);
  return gpu::launch(scale_kernel, {.grid = blocks, .block = 256, .stream = stream}, x, y, count, factor);
}
