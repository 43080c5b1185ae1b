#include "kernels/gradient_norm.h"

#include "kernels/vector.h"

namespace engine::kernels {
namespace {

constexpr float kClipEps = 1e-6f;  // PyTorch's

__global__ void __launch_bounds__(kThreads) norm_of_all(GradientNorm args) {
  GPU_SHARED(double, shared, kThreads);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < args.num; i += kThreads) sum += static_cast<double>(args.squares[i]);
  shared[threadIdx.x] = sum;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();  // the level above has been written
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  if (threadIdx.x != 0) return;
  const float unscale = args.unscale ? *args.unscale : 1.0f;
  const float norm = static_cast<float>(static_cast<double>(unscale) * sqrt(shared[0]));
  *args.norm = norm;
  if (!args.grad_scale) return;
  const float clip = args.max_norm > 0 ? args.max_norm / (norm + kClipEps) : 1.0f;
  *args.grad_scale = clip < 1 ? unscale * clip : unscale;
}

}  // namespace

bool gradient_norm(const GradientNorm& args, Stream stream) {
  if (args.num < 0 || (args.num > 0 && !args.squares) || !args.norm) return false;
  return gpu::launch(norm_of_all, {.grid = 1, .block = kThreads, .stream = stream}, args);
}
Cost gradient_norm_cost(const GradientNorm& args) {
  return {.bytes = args.num * 4, .flops = args.num};
}

}  // namespace engine::kernels
