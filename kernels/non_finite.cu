#include "kernels/non_finite.h"

#include "kernels/vector.h"

namespace engine::kernels {
namespace {

constexpr int kWarps = kThreads / 32;

// Written so that NaN counts.
GPU_DEVICE bool is_finite(float v) {
  return fabsf(v) <= 3.4028234663852886e38f;
}

// A block a chunk.
__global__ void __launch_bounds__(kThreads)
    search_chunks(const FloatChunk* chunks, uint32_t* found_mark, float* squares) {
  GPU_SHARED(unsigned, warp_found, kWarps);
  GPU_SHARED(float, warp_squares, kWarps);
  const FloatChunk chunk = chunks[blockIdx.x];
  const int thread = static_cast<int>(threadIdx.x);
  const int count = chunk.count;
  const int vectors = reinterpret_cast<uintptr_t>(chunk.data) % 16 == 0 ? count / 4 : 0;
  bool found = false;
  float sum = 0;
  for (int i = thread; i < vectors; i += kThreads) {
    const float4 v = reinterpret_cast<const float4*>(chunk.data)[i];
    found |= !(is_finite(v.x) && is_finite(v.y) && is_finite(v.z) && is_finite(v.w));
    sum += fmaf(v.x, v.x, v.y * v.y) + fmaf(v.z, v.z, v.w * v.w);
  }
  for (int i = 4 * vectors + thread; i < count; i += kThreads) {
    const float v = chunk.data[i];
    found |= !is_finite(v);
    sum = fmaf(v, v, sum);
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  const unsigned votes = __ballot_sync(0xffffffffu, found);
  if (thread % 32 == 0) warp_found[thread / 32] = votes, warp_squares[thread / 32] = sum;
  __syncthreads();  // every warp's votes and sum are there
  if (thread == 0) {
    unsigned any = 0;
    float total = 0;
    for (int warp = 0; warp < kWarps; ++warp) any |= warp_found[warp], total += warp_squares[warp];
    if (squares) squares[blockIdx.x] = total;
    if (any != 0) atomicMax(found_mark, chunk.mark);
  }
}

}  // namespace

bool find_non_finite(const FindNonFinite& args, Stream stream) {
  if (args.num_chunks < 0 || args.num_chunks > INT32_MAX) return false;
  if (args.num_chunks == 0) return true;
  if (!args.chunks || !args.found) return false;
  return gpu::launch(search_chunks,
                     {.grid = static_cast<unsigned>(args.num_chunks), .block = kThreads, .stream = stream}, args.chunks,
                     args.found, args.squares);
}
Cost find_non_finite_cost(const FindNonFinite& args, int64_t elements) {
  return {.bytes = elements * 4 + args.num_chunks * (args.squares ? 20 : 16),
          .flops = elements * (args.squares ? 3 : 1)};
}

}  // namespace engine::kernels
