// Launcher of the filters' gradient, and the sum of its splits; the product is in kernels/conv/wgrad.h.
#include "kernels/conv/wgrad.h"
#include "kernels/convolution.h"

namespace engine::kernels {
namespace conv {

constexpr int kReduceThreads = 256;

struct ReduceParams {
  const float* splits;  // [num_splits][size_dw + size_dbias]
  int num_splits;
  int64_t stride;
  int64_t size_dw, size_dbias;
  float* dw;
  float* dbias;
};

// One thread an element; splits in order.
__global__ void __launch_bounds__(kReduceThreads) reduce_splits_kernel(const __grid_constant__ ReduceParams params) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kReduceThreads + threadIdx.x;
  if (i < params.size_dw + params.size_dbias) {
    float sum = 0;
    for (int split = 0; split < params.num_splits; ++split) sum += params.splits[split * params.stride + i];
    if (i < params.size_dw)
      params.dw[i] = sum;
    else
      params.dbias[i - params.size_dw] = sum;
  }
}

// dw and dbias, rounded up so that each split starts at a multiple of a chunk.
inline int64_t floats_per_split(const Geometry& g) {
  return (int64_t{g.k} * g.r * g.s * g.group_c + g.k + 3) / 4 * 4;
}

}  // namespace conv

bool conv_wgrad(const ConvBackwardWeights& args, Stream stream) {
  if (!conv::supported(args.shape) || args.x == nullptr || args.dy == nullptr || args.dw == nullptr) return false;
  const conv::Geometry g = conv::geometry(args.shape);
  const conv::SplitChoice split = conv::choose_wgrad_split(g, args.type);
  const bool split_up = split.splits > 1;
  if (split_up && args.workspace == nullptr) return false;
  for (const void* pointer :
       {args.x, args.dy, static_cast<const void*>(args.dw), static_cast<const void*>(args.workspace)})
    if (!conv::aligned(pointer)) return false;

  const int64_t size_dw = int64_t{g.k} * g.r * g.s * g.group_c, stride = conv::floats_per_split(g);
  auto* const workspace = static_cast<float*>(args.workspace);
  const conv::BackwardWeightsParams params = {.g = g,
                                              .x = args.x,
                                              .dy = args.dy,
                                              .dw = split_up ? workspace : args.dw,
                                              .dbias = args.dbias == nullptr ? nullptr
                                                       : split_up            ? workspace + size_dw
                                                                             : args.dbias,
                                              .split_stride = stride,
                                              .slices_per_split = split.slices_per_split,
                                              .tf32 = args.tf32,
                                              .aligned_dw = conv::whole_chunks(g.r * g.s * g.group_c, DataType::f32)};
  bool launched = false;
  switch (args.type) {
    case DataType::f32:
      launched = conv::dispatch_wgrad<float>(params, split, args.type, stream);
      break;
    case DataType::bf16:
      launched = conv::dispatch_wgrad<bf16>(params, split, args.type, stream);
      break;
    case DataType::f16:
      launched = conv::dispatch_wgrad<f16>(params, split, args.type, stream);
      break;
  }
  if (!launched || !split_up) return launched;

  const int64_t size_dbias = args.dbias == nullptr ? 0 : g.k;
  const int64_t blocks = (size_dw + size_dbias + conv::kReduceThreads - 1) / conv::kReduceThreads;
  return gpu::launch(
      conv::reduce_splits_kernel,
      {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(conv::kReduceThreads), .stream = stream},
      conv::ReduceParams{.splits = workspace,
                         .num_splits = split.splits,
                         .stride = stride,
                         .size_dw = size_dw,
                         .size_dbias = size_dbias,
                         .dw = args.dw,
                         .dbias = args.dbias});
}

Cost conv_wgrad_cost(const ConvBackwardWeights& args) {
  const Conv2dShape& s = args.shape;
  const int64_t x = s.n * s.h * s.w * s.c, dy = s.n * s.p() * s.q() * s.k, dw = s.k * s.r * s.s * (s.c / s.groups);
  return {.bytes = (x + dy) * size_of(args.type) + dw * size_of(DataType::f32), .flops = 2 * s.macs()};
}

size_t conv_wgrad_workspace(const Conv2dShape& shape, DataType type) {
  const conv::Geometry g = conv::geometry(shape);
  const int splits = conv::choose_wgrad_split(g, type).splits;
  return splits == 1 ? 0 : static_cast<size_t>(splits * conv::floats_per_split(g)) * sizeof(float);
}

}  // namespace engine::kernels
