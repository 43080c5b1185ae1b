#include "kernels/loss.h"

#include "kernels/vector.h"

namespace engine::kernels {
namespace {

constexpr int kWarps = 4;  // a warp a row

GPU_DEVICE float warp_sum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

GPU_DEVICE float warp_max(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}

// The target: (1 - smoothing) * labels or probabilities, + smoothing / K.
struct Target {
  const int64_t* labels;
  const float* probabilities;
  float weight, uniform;
  GPU_DEVICE float operator()(int64_t row, int64_t i, int64_t k) const {
    const float hard = probabilities ? probabilities[row * k + i] : (labels[row] == i ? 1.0f : 0.0f);
    return fmaf(weight, hard, uniform);
  }
};

template <class T>
__global__ void __launch_bounds__(32 * kWarps)
    softmax_rows(const T* logits, Target target, float* row_losses, T* dlogits, int64_t n, int64_t k, float scale) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32; row < n; row += step) {
    const T* z = logits + row * k;
    // A NaN that fmaxf drops here comes back in the sum.
    float largest = -INFINITY;
    for (int64_t i = lane; i < k; i += 32) largest = fmaxf(largest, gpu::to_float(z[i]));
    largest = warp_max(largest);
    float sum = 0;
    for (int64_t i = lane; i < k; i += 32) sum += expf(gpu::to_float(z[i]) - largest);
    sum = warp_sum(sum);
    const float log_sum = logf(sum);
    float loss = 0, mass = 0;
    for (int64_t i = lane; i < k; i += 32) {
      const float t = target(row, i, k);
      mass += t;
      if (t != 0) loss = fmaf(t, log_sum - (gpu::to_float(z[i]) - largest), loss);
    }
    loss = warp_sum(loss);
    mass = warp_sum(mass);
    // With all targets zero (a label out of range) a NaN in the logits would be lost.
    if (lane == 0) row_losses[row] = sum == sum ? loss : sum;
    if (dlogits)
      for (int64_t i = lane; i < k; i += 32) {
        const float softmax = expf(gpu::to_float(z[i]) - largest) / sum;
        dlogits[row * k + i] = gpu::from_float<T>(fmaf(softmax, mass, -target(row, i, k)) * scale);
      }
  }
}

struct BinaryTarget {
  Target soft;
  bool binary;
  float threshold;
  GPU_DEVICE float operator()(int64_t row, int64_t i, int64_t k) const {
    const float t = soft(row, i, k);
    return binary ? (t > threshold ? 1.0f : 0.0f) : t;
  }
};

// `weight` of a class's loss in its row's; `scale` of the gradient.
template <class T>
__global__ void __launch_bounds__(32 * kWarps)
    binary_rows(const T* logits, BinaryTarget target, float* row_losses, T* dlogits, int64_t n, int64_t k, float weight,
                float scale) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32; row < n; row += step) {
    float loss = 0;
    for (int64_t i = lane; i < k; i += 32) {
      const float z = gpu::to_float(logits[row * k + i]), t = target(row, i, k);
      // The product keeps a NaN that fmaxf drops.
      loss += fmaxf(z, 0.0f) - t * z + log1pf(expf(-fabsf(z)));
      if (dlogits) dlogits[row * k + i] = gpu::from_float<T>((1.0f / (1.0f + expf(-z)) - t) * scale);
    }
    loss = warp_sum(loss);
    if (lane == 0) row_losses[row] = loss * weight;
  }
}

__global__ void __launch_bounds__(kThreads) mean_loss(const float* row_losses, int64_t n, float* loss) {
  GPU_SHARED(double, shared, kThreads);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += static_cast<double>(row_losses[i]);
  shared[threadIdx.x] = sum;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();  // the level above has been written
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *loss = static_cast<float>(shared[0] / static_cast<double>(n));
}

}  // namespace

bool softmax_cross_entropy(const SoftmaxCrossEntropy& args, Stream stream) {
  if (args.n < 1 || args.k < 1 || !args.logits || !args.loss || !args.workspace) return false;
  if (!args.labels == !args.probabilities) return false;
  float* const row_losses = static_cast<float*>(args.workspace);
  const Target target = {args.labels, args.probabilities, 1.0f - args.label_smoothing,
                         args.label_smoothing / static_cast<float>(args.k)};
  return with_type(args.type,
                   [&](auto stored) {
                     using T = decltype(stored);
                     return gpu::launch(
                         softmax_rows<T>, {.grid = blocks_for(args.n, kWarps), .block = 32 * kWarps, .stream = stream},
                         static_cast<const T*>(args.logits), target, row_losses, static_cast<T*>(args.dlogits), args.n,
                         args.k, 1.0f / static_cast<float>(args.n));
                   }) &&
         gpu::launch(mean_loss, {.grid = 1, .block = kThreads, .stream = stream}, row_losses, args.n, args.loss);
}
bool binary_cross_entropy(const BinaryCrossEntropy& args, Stream stream) {
  if (args.n < 1 || args.k < 1 || !args.logits || !args.loss || !args.workspace) return false;
  if (!args.labels == !args.probabilities) return false;
  float* const row_losses = static_cast<float*>(args.workspace);
  const BinaryTarget target = {
      {args.labels, args.probabilities, 1.0f - args.label_smoothing, args.label_smoothing / static_cast<float>(args.k)},
      args.binary,
      args.threshold};
  const float weight = args.sum_classes ? 1.0f : 1.0f / static_cast<float>(args.k);
  return with_type(args.type,
                   [&](auto stored) {
                     using T = decltype(stored);
                     return gpu::launch(
                         binary_rows<T>, {.grid = blocks_for(args.n, kWarps), .block = 32 * kWarps, .stream = stream},
                         static_cast<const T*>(args.logits), target, row_losses, static_cast<T*>(args.dlogits), args.n,
                         args.k, weight, weight / static_cast<float>(args.n));
                   }) &&
         gpu::launch(mean_loss, {.grid = 1, .block = kThreads, .stream = stream}, row_losses, args.n, args.loss);
}
size_t softmax_cross_entropy_workspace(int64_t n) {
  return static_cast<size_t>(n) * sizeof(float);
}
Cost softmax_cross_entropy_cost(const SoftmaxCrossEntropy& args) {
  const int64_t count = args.n * args.k;
  return {.bytes = count * (size_of(args.type) * (args.dlogits ? 2 : 1) + (args.probabilities ? 4 : 0)) +
                   (args.probabilities ? 0 : 8 * args.n),
          .flops = count * (args.dlogits ? 10 : 7)};
}
Cost binary_cross_entropy_cost(const BinaryCrossEntropy& args) {
  const int64_t count = args.n * args.k;
  return {.bytes = count * (size_of(args.type) * (args.dlogits ? 2 : 1) + (args.probabilities ? 4 : 0)) +
                   (args.probabilities ? 0 : 8 * args.n),
          .flops = count * (args.dlogits ? 11 : 7)};
}

}  // namespace engine::kernels
