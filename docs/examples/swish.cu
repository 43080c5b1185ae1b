#include "swish.h"

#include "kernels/gpu.h"

namespace gpu = engine::kernels::gpu;
using engine::kernels::Stream;

namespace {

constexpr int kThreads = 256;

GPU_DEVICE float sigmoid(float x) {
  return 1.0f / (1.0f + expf(-x));
}

__global__ void forward(const float* x, float* y, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) y[i] = x[i] * sigmoid(x[i]);
}

__global__ void backward(const float* x, const float* dy, float* dx, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const float s = sigmoid(x[i]);
  dx[i] = dy[i] * (s + x[i] * s * (1.0f - s));
}

gpu::LaunchConfig one_thread_each(int64_t count, Stream stream) {
  return {.grid = static_cast<unsigned>((count + kThreads - 1) / kThreads), .block = kThreads, .stream = stream};
}

}  // namespace

template <>
bool swish_forward<gpu::kPlatform>(const float* x, float* y, int64_t count, Stream stream) {
  return gpu::launch(forward, one_thread_each(count, stream), x, y, count);
}

template <>
bool swish_backward<gpu::kPlatform>(const float* x, const float* dy, float* dx, int64_t count, Stream stream) {
  return gpu::launch(backward, one_thread_each(count, stream), x, dy, dx, count);
}
