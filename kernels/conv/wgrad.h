#pragma once
// Private to kernels. Gradient of the filters: M = K filters, N = (r, s, c), k = N*P*Q pixels, which are split
// over blocks. Each split writes a dw of its own, f32 [K,R,S,C/groups], and a dbias behind it; reduce_splits_kernel
// adds them.
#include "kernels/conv/epilogue.h"
#include "kernels/conv/geometry.h"
#include "kernels/conv/sources.h"

namespace engine::kernels::conv {

struct BackwardWeightsParams {
  Geometry g;
  const void* x;
  const void* dy;
  float* dw;             // of split 0
  float* dbias;          // of split 0; null: not wanted
  int64_t split_stride;  // floats from one split's dw to the next, and dbias alike
  int slices_per_split;
  bool tf32;        // of f32: tensor cores
  bool aligned_dw;  // a row of dw is a multiple of a chunk
};

struct SplitChoice {
  TileChoice tile;
  int splits, slices_per_split;
};

// The tile follows from the channels: as high as the filters fill, 128 x 128 where both sides are wide, and the narrow
// one where dy is read element by element. The pixels are split until there are two blocks for every multiprocessor
// (see kWantedBlocks), but a split has eight slices at least.
inline SplitChoice choose_wgrad_split(const Geometry& g, DataType type) {
  const int columns = g.r * g.s * g.group_c;
  const bool wide_x = whole_chunks(g.group_c, type), wide_dy = whole_chunks(g.group_k, type);
  TileChoice tile = {64, 64};
  if (type == DataType::f32) {
    if (g.group_k <= 32 || !wide_dy) tile = {32, 64};
  } else if (g.group_k <= 32 || !wide_dy) {
    tile = {32, 128};
  } else if (wide_x && g.group_k > 64 && columns > 64) {
    tile = {128, 128};
  }
  const int64_t tiles = int64_t{ceil_div(g.group_k, tile.rows)} * ceil_div(columns, tile.columns) * g.groups;
  const int depth = kDepthBytes / static_cast<int>(size_of(type));
  const int slices = ceil_div(g.n * g.p * g.q, depth);
  const int64_t wanted = (2 * kWantedBlocks + tiles - 1) / tiles;
  const int64_t splits = std::clamp<int64_t>(wanted, 1, std::max(slices / 8, 1));
  const int slices_per_split = ceil_div(slices, static_cast<int>(splits));
  return {tile, ceil_div(slices, slices_per_split), slices_per_split};
}

template <class T, class Shape>
struct BackwardWeights {
  using SliceA = Slice<T, gpu::Major::mn, Shape::kM>;
  using SliceB = Slice<T, gpu::Major::mn, Shape::kN>;
  static constexpr int kSharedBytes = larger(kRingBytes<SliceA, SliceB>, Staged<Shape>::kBytes);

  // Adds a slice of dy to the sum of this thread's filter.
  static GPU_DEVICE void add_column(float& sum, const char* slice_a) {
    const int column = static_cast<int>(threadIdx.x);
    if (column >= Shape::kM) return;
    for (int row = 0; row < kDepth<T>; ++row) {
      const char* chunk = slice_a + SliceA::offset(row, column / kVector<T>);
      sum += gpu::to_float(reinterpret_cast<const T*>(chunk)[column % kVector<T>]);
    }
  }
};

// Grid: x = tiles of rows and columns, y = splits, z = groups.
template <class T, class Shape, bool kAlignedA, bool kAlignedB>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    conv_wgrad_kernel(const __grid_constant__ BackwardWeightsParams params) {
  using Kernel = BackwardWeights<T, Shape>;
  const Geometry& g = params.g;
  const int thread = static_cast<int>(threadIdx.x);
  const int columns = g.r * g.s * g.group_c;
  const int column_tiles = ceil_div(columns, Shape::kN);
  const int first_row = static_cast<int>(blockIdx.x) / column_tiles * Shape::kM;
  const int first_column = static_cast<int>(blockIdx.x) % column_tiles * Shape::kN;
  const int split = static_cast<int>(blockIdx.y), group = static_cast<int>(blockIdx.z);
  const int pixels = g.n * g.p * g.q;
  const int first_slice = split * params.slices_per_split;
  const int num_slices = min(params.slices_per_split, ceil_div(pixels, kDepth<T>) - first_slice);

  const Matrix gradients = {.data = static_cast<const T*>(params.dy) + group * g.group_k,
                            .stride = g.k,
                            .rows = pixels,
                            .columns = g.group_k};
  const Patches patches = {.image = static_cast<const T*>(params.x) + group * g.group_c,
                           .pixel_stride = g.c,
                           .height = g.h,
                           .width = g.w,
                           .channels = g.group_c,
                           .num_rows = pixels,
                           .rows_h = g.p,
                           .rows_w = g.q,
                           .stride = g.stride,
                           .offset_h = -g.padding,
                           .offset_w = -g.padding,
                           .taps_h = g.r,
                           .taps_w = g.s};

  char* shared = gpu::dyn_smem();
  // The blocks of the first columns see all of dy.
  const bool sums_dy = params.dbias != nullptr && first_column == 0;
  float dbias = 0;
  Multiplier<T, Shape, typename Kernel::SliceA, typename Kernel::SliceB> product;
  {
    MatrixColumns<T, typename Kernel::SliceA, kAlignedA> a(gradients, first_slice * kDepth<T>, first_row);
    PatchColumns<T, typename Kernel::SliceB, kAlignedB> b(patches, first_slice * kDepth<T>, first_column);
    for_each_slice<typename Kernel::SliceA, typename Kernel::SliceB>(shared, a, b, num_slices,
                                                                     [&](const char* slice_a, const char* slice_b) {
                                                                       product.multiply(slice_a, slice_b);
                                                                       if (sums_dy) Kernel::add_column(dbias, slice_a);
                                                                     });
  }
  const int first_filter = group * g.group_k + first_row;
  if (sums_dy && thread < Shape::kM && first_row + thread < g.group_k)
    params.dbias[split * params.split_stride + first_filter + thread] = dbias;

  float* staged = reinterpret_cast<float*>(shared);
  product.store(staged);
  // The tile is complete: its rows are read by other threads than wrote them.
  __syncthreads();
  using Rows = StagedRows<Shape, kVector<float>>;
  const int count = columns - first_column - Rows::column();
  const int num_rows = min(Shape::kM, g.group_k - first_row);
  if (count > 0)
    for (int row = Rows::first_row(); row < num_rows; row += Rows::kRowsPerPass) {
      float values[kVector<float>];
      Rows::read(values, staged, row);
      float* to = params.dw + split * params.split_stride + static_cast<int64_t>(first_filter + row) * columns +
                  first_column + Rows::column();
      write_chunk(to, values, count, params.aligned_dw);
    }
}

template <class T, class Shape, bool kAlignedA, bool kAlignedB>
bool launch_wgrad(const BackwardWeightsParams& params, int splits, Stream stream) {
  const Geometry& g = params.g;
  const int64_t tiles = int64_t{ceil_div(g.group_k, Shape::kM)} * ceil_div(g.r * g.s * g.group_c, Shape::kN);
  if (tiles > INT32_MAX) return false;
  return gpu::launch(
      conv_wgrad_kernel<T, Shape, kAlignedA, kAlignedB>,
      {.grid = dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(splits), static_cast<unsigned>(g.groups)),
       .block = dim3(kThreads),
       .shared_bytes = BackwardWeights<T, Shape>::kSharedBytes,
       .stream = stream},
      params);
}

template <class T>
bool dispatch_wgrad(const BackwardWeightsParams& params, const SplitChoice& split, DataType type, Stream stream) {
  const bool wide_x = whole_chunks(params.g.group_c, type), wide_dy = whole_chunks(params.g.group_k, type);
  if constexpr (sizeof(T) == 4) {
    const auto launch = [&]<class Narrow, class Wide>(Narrow, Wide) {
      if (!wide_dy) return launch_wgrad<T, Narrow, false, false>(params, split.splits, stream);
      if (split.tile.rows == 32)
        return wide_x ? launch_wgrad<T, Narrow, true, true>(params, split.splits, stream)
                      : launch_wgrad<T, Narrow, true, false>(params, split.splits, stream);
      return wide_x ? launch_wgrad<T, Wide, true, true>(params, split.splits, stream)
                    : launch_wgrad<T, Wide, true, false>(params, split.splits, stream);
    };
    return params.tf32 ? launch(TileShape<32, 64, 1, 4>{}, TileShape<64, 64, 2, 2>{})
                       : launch(TileShape<32, 64, 8, 16>{}, TileShape<64, 64, 16, 8>{});
  } else {
    using Narrow = TileShape<32, 128, 1, 4>;
    using Middle = TileShape<64, 64, 2, 2>;
    if (!wide_dy) return launch_wgrad<T, Narrow, false, false>(params, split.splits, stream);
    if (split.tile.rows == 32)
      return wide_x ? launch_wgrad<T, Narrow, true, true>(params, split.splits, stream)
                    : launch_wgrad<T, Narrow, true, false>(params, split.splits, stream);
    if (!wide_x) return launch_wgrad<T, Middle, true, false>(params, split.splits, stream);
    if (split.tile.rows == 64) return launch_wgrad<T, Middle, true, true>(params, split.splits, stream);
    return launch_wgrad<T, TileShape<128, 128, 2, 2>, true, true>(params, split.splits, stream);
  }
}

// One file each: nvcc takes seconds for a type.
extern template bool dispatch_wgrad<float>(const BackwardWeightsParams& params, const SplitChoice& split, DataType type,
                                           Stream stream);
extern template bool dispatch_wgrad<bf16>(const BackwardWeightsParams& params, const SplitChoice& split, DataType type,
                                          Stream stream);
extern template bool dispatch_wgrad<f16>(const BackwardWeightsParams& params, const SplitChoice& split, DataType type,
                                         Stream stream);

}  // namespace engine::kernels::conv
