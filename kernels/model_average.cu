#include "kernels/model_average.h"

#include "kernels/vector.h"

namespace engine::kernels {
namespace {

template <int V>
GPU_DEVICE void move(const AverageChunk& chunk, int at, float decay) {
  Floats<V> average = load<V>(chunk.value + at);
  if (decay != 0) {
    const Floats<V> before = load<V>(chunk.average + at);
#pragma unroll
    for (int i = 0; i < V; ++i) average[i] = fmaf(decay, before[i], (1 - decay) * average[i]);
  }
  store<V>(chunk.average + at, average);
}

// A block a chunk.
__global__ void __launch_bounds__(kThreads) average_chunks(const AverageChunk* chunks, float decay) {
  const AverageChunk chunk = chunks[blockIdx.x];
  const bool wide = (reinterpret_cast<uintptr_t>(chunk.average) | reinterpret_cast<uintptr_t>(chunk.value)) % 16 == 0;
  const int vectors = wide ? chunk.count / 4 : 0;
  for (int i = static_cast<int>(threadIdx.x); i < vectors; i += kThreads) move<4>(chunk, 4 * i, decay);
  for (int i = 4 * vectors + static_cast<int>(threadIdx.x); i < chunk.count; i += kThreads) move<1>(chunk, i, decay);
}

}  // namespace

bool model_average(const ModelAverage& args, Stream stream) {
  if (args.num_chunks < 0 || args.num_chunks > INT32_MAX || !(args.decay >= 0 && args.decay <= 1)) return false;
  if (args.num_chunks == 0) return true;
  if (!args.chunks) return false;
  return gpu::launch(average_chunks,
                     {.grid = static_cast<unsigned>(args.num_chunks), .block = kThreads, .stream = stream}, args.chunks,
                     args.decay);
}
Cost model_average_cost(const ModelAverage& args, int64_t elements) {
  return {.bytes = elements * (args.decay != 0 ? 12 : 8), .flops = elements * (args.decay != 0 ? 3 : 0)};
}

}  // namespace engine::kernels
