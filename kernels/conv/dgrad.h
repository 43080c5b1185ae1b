#pragma once
// Private to kernels. Gradient of the input: M = N*H*W pixels, N = C channels, k = (tap, filter). With a stride,
// pixels fall into classes (h % stride, w % stride), each with taps of its own, and a block works on one class.
#include "kernels/conv/epilogue.h"
#include "kernels/conv/geometry.h"
#include "kernels/conv/sources.h"

namespace engine::kernels::conv {

struct BackwardDataParams {
  Geometry g;
  const void* dy;
  const void* w;
  const void* shortcut;
  const void* mask;
  const void* bn_x;
  const float* bn_mean;
  void* dx;
  float* partials;
  bool tf32;        // of f32: tensor cores
  bool aligned_dx;  // C/groups is a multiple of a chunk
};

// Pixels h + stride * i, w + stride * j of each image.
struct PixelClass {
  int h, w;
  int rows_h, rows_w;  // how many i and j

  __host__ __device__ int num_rows(const Geometry& g) const { return g.n * rows_h * rows_w; }
  GPU_DEVICE int pixel(const Geometry& g, int row) const {
    const int j = row % rows_w, i = row / rows_w % rows_h, n = row / rows_w / rows_h;
    return (n * g.h + h + i * g.stride) * g.w + w + j * g.stride;
  }
};

__host__ __device__ inline PixelClass pixel_class(const Geometry& g, int h, int w) {
  return {h, w, h < g.h ? ceil_div(g.h - h, g.stride) : 0, w < g.w ? ceil_div(g.w - w, g.stride) : 0};
}

// The class that a tile of rows belongs to, and its number among the tiles of that class: tiles are counted class by
// class.
struct ClassTile {
  PixelClass pixels;
  int tile;
};
template <int kRows>
GPU_DEVICE ClassTile class_tile(const Geometry& g, int tile) {
  ClassTile found = {pixel_class(g, 0, 0), tile};
  for (int next = 1; next < g.stride * g.stride; ++next) {
    const int tiles = ceil_div(found.pixels.num_rows(g), kRows);
    if (found.tile < tiles) break;
    found.tile -= tiles;
    found.pixels = pixel_class(g, next / g.stride, next % g.stride);
  }
  return found;
}
inline int64_t count_tiles(const Geometry& g, int rows) {
  int64_t tiles = 0;
  for (int h = 0; h < g.stride && h < g.h; ++h)
    for (int w = 0; w < g.stride && w < g.w; ++w) tiles += ceil_div(pixel_class(g, h, w).num_rows(g), rows);
  return tiles;
}

template <class T, class Shape>
struct BackwardDataEpilogue {
  using Rows = StagedRows<Shape, kVector<T>>;
  using Sums = ColumnSums<Rows, Shape>;
  static constexpr int kScratchFloats = 2 * Sums::kFloats;

  // `pixels` holds the pixel of each of the tile's rows; `tile` numbers the parts of `partials`.
  static GPU_DEVICE void run(const BackwardDataParams& params, const float* staged, float* scratch, const int* pixels,
                             int tile, int num_rows, int first_column, int channel) {
    const Geometry& g = params.g;
    const int count = g.group_c - first_column - Rows::column();
    const int own_channel = channel + Rows::column();

    float mean[kVector<T>];
    read_channels(mean, params.bn_mean == nullptr ? nullptr : params.bn_mean + own_channel, count, 0);

    float sum[kVector<T>] = {}, sum_product[kVector<T>] = {};
    if (count > 0)
      for (int row = Rows::first_row(); row < num_rows; row += Rows::kRowsPerPass) {
        const int64_t at = static_cast<int64_t>(pixels[row]) * g.c + own_channel;
        float dz[kVector<T>], other[kVector<T>] = {};
        Rows::read(dz, staged, row);
        if (params.shortcut != nullptr) {
          read_chunk(other, static_cast<const T*>(params.shortcut) + at, count, params.aligned_dx);
#pragma unroll
          for (int e = 0; e < kVector<T>; ++e) dz[e] += other[e];
        }
        if (params.mask != nullptr) {
          read_chunk(other, static_cast<const T*>(params.mask) + at, count, params.aligned_dx);
#pragma unroll
          for (int e = 0; e < kVector<T>; ++e) dz[e] = other[e] > 0 ? dz[e] : 0.0f;
        }
        // Read before dx, which may be the same tensor, is written.
        if (params.bn_x != nullptr)
          read_chunk(other, static_cast<const T*>(params.bn_x) + at, count, params.aligned_dx);
        write_chunk(static_cast<T*>(params.dx) + at, dz, count, params.aligned_dx);
        if (params.bn_x == nullptr) continue;
#pragma unroll
        for (int e = 0; e < kVector<T>; ++e) {
          sum[e] += dz[e];
          sum_product[e] += dz[e] * (other[e] - mean[e]);
        }
      }
    if (params.partials == nullptr) return;
    const float total = Sums::total(scratch, sum);
    const float total_product = Sums::total(scratch + Sums::kFloats, sum_product);
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < Shape::kN && first_column + thread < g.group_c) {
      float* part = params.partials + static_cast<int64_t>(tile) * 2 * g.c + channel + thread;
      part[0] = total;
      part[g.c] = total_product;
    }
  }
};

template <class T, class Shape>
struct BackwardData {
  using SliceA = Slice<T, gpu::Major::k, Shape::kM>;
  using SliceB = Slice<T, gpu::Major::mn, Shape::kN>;
  using Epilogue = BackwardDataEpilogue<T, Shape>;
  static constexpr int kBodyBytes = larger(kRingBytes<SliceA, SliceB>, Staged<Shape>::kBytes);
  static constexpr int kScratchBytes = Epilogue::kScratchFloats * static_cast<int>(sizeof(float));
  static constexpr int kSharedBytes = kBodyBytes + kScratchBytes + Shape::kM * static_cast<int>(sizeof(int));
};

// Grid: x = tiles of rows, class by class, and columns, columns first; y = groups.
template <class T, class Shape, bool kAligned>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    conv_dgrad_kernel(const __grid_constant__ BackwardDataParams params) {
  using Kernel = BackwardData<T, Shape>;
  const Geometry& g = params.g;
  const int column_tiles = ceil_div(g.group_c, Shape::kN);
  const int part = static_cast<int>(blockIdx.x) / column_tiles;
  const int first_column = static_cast<int>(blockIdx.x) % column_tiles * Shape::kN;
  const int group = static_cast<int>(blockIdx.y);
  const ClassTile at = class_tile<Shape::kM>(g, part);
  const int first_row = at.tile * Shape::kM;
  const int num_rows = min(Shape::kM, at.pixels.num_rows(g) - first_row);

  // Pixel h = first + stride * i meets filter rows r = first_r + stride * j at output row i + last - j.
  const int first_r = (at.pixels.h + g.padding) % g.stride, last_p = (at.pixels.h + g.padding) / g.stride;
  const int first_s = (at.pixels.w + g.padding) % g.stride, last_q = (at.pixels.w + g.padding) / g.stride;
  const FilterTaps taps = {
      .filter = static_cast<const T*>(params.w) + static_cast<int64_t>(group) * g.group_k * g.r * g.s * g.group_c,
      .r = g.r,
      .s = g.s,
      .channels = g.group_c,
      .num_filters = g.group_k,
      .stride = g.stride,
      .first_h = first_r,
      .first_w = first_s,
      .taps_h = first_r < g.r ? ceil_div(g.r - first_r, g.stride) : 0,
      .taps_w = first_s < g.s ? ceil_div(g.s - first_s, g.stride) : 0};
  const Patches patches = {.image = static_cast<const T*>(params.dy) + group * g.group_k,
                           .pixel_stride = g.k,
                           .height = g.p,
                           .width = g.q,
                           .channels = g.group_k,
                           .num_rows = at.pixels.num_rows(g),
                           .rows_h = at.pixels.rows_h,
                           .rows_w = at.pixels.rows_w,
                           .stride = 1,
                           .offset_h = last_p - (taps.taps_h - 1),
                           .offset_w = last_q - (taps.taps_w - 1),
                           .taps_h = taps.taps_h,
                           .taps_w = taps.taps_w};

  char* shared = gpu::dyn_smem();
  int* pixels = reinterpret_cast<int*>(shared + Kernel::kBodyBytes + Kernel::kScratchBytes);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < num_rows) pixels[thread] = at.pixels.pixel(g, first_row + thread);

  Multiplier<T, Shape, typename Kernel::SliceA, typename Kernel::SliceB> product;
  {
    PatchRows<T, typename Kernel::SliceA, kAligned> a(patches, first_row);
    FilterColumns<T, typename Kernel::SliceB, kAligned> b(taps, first_column);
    for_each_slice<typename Kernel::SliceA, typename Kernel::SliceB>(
        shared, a, b, ceil_div(taps.taps_h * taps.taps_w * g.group_k, kDepth<T>),
        [&](const char* slice_a, const char* slice_b) { product.multiply(slice_a, slice_b); });
  }
  float* staged = reinterpret_cast<float*>(shared);
  product.store(staged);
  // The tile and the table of pixels are complete: both are read by other threads than wrote them.
  __syncthreads();
  Kernel::Epilogue::run(params, staged, reinterpret_cast<float*>(shared + Kernel::kBodyBytes), pixels, part, num_rows,
                        first_column, group * g.group_c + first_column);
}

template <class T, class Shape, bool kAligned>
bool launch_dgrad(const BackwardDataParams& params, Stream stream) {
  const Geometry& g = params.g;
  const int64_t blocks = count_tiles(g, Shape::kM) * ceil_div(g.group_c, Shape::kN);
  if (blocks > INT32_MAX) return false;
  return gpu::launch(conv_dgrad_kernel<T, Shape, kAligned>,
                     {.grid = dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(g.groups)),
                      .block = dim3(kThreads),
                      .shared_bytes = BackwardData<T, Shape>::kSharedBytes,
                      .stream = stream},
                     params);
}

inline bool dgrad_in_chunks(const Geometry& g, DataType type) {
  return whole_chunks(g.group_c, type) && whole_chunks(g.group_k, type);
}

inline TileChoice choose_dgrad_tile(const Geometry& g, DataType type) {
  return choose_tile(int64_t{g.n} * g.h * g.w, g.group_c, g.groups, type, !dgrad_in_chunks(g, type));
}

template <class T>
bool dispatch_dgrad(const BackwardDataParams& params, DataType type, Stream stream) {
  const TileChoice tile = choose_dgrad_tile(params.g, type);
  const bool aligned = dgrad_in_chunks(params.g, type);
  if constexpr (sizeof(T) == 4) {
    if (params.tf32 && tile.columns == 32)
      return aligned ? launch_dgrad<T, TileShape<128, 32, 4, 1>, true>(params, stream)
                     : launch_dgrad<T, TileShape<128, 32, 4, 1>, false>(params, stream);
    if (params.tf32)
      return aligned ? launch_dgrad<T, TileShape<128, 64, 2, 2>, true>(params, stream)
                     : launch_dgrad<T, TileShape<128, 64, 2, 2>, false>(params, stream);
    if (tile.columns == 32)
      return aligned ? launch_dgrad<T, TileShape<128, 32, 16, 8>, true>(params, stream)
                     : launch_dgrad<T, TileShape<128, 32, 16, 8>, false>(params, stream);
    return aligned ? launch_dgrad<T, TileShape<128, 64, 16, 8>, true>(params, stream)
                   : launch_dgrad<T, TileShape<128, 64, 16, 8>, false>(params, stream);
  } else {
    if (tile.columns == 32)
      return aligned ? launch_dgrad<T, TileShape<128, 32, 4, 1>, true>(params, stream)
                     : launch_dgrad<T, TileShape<128, 32, 4, 1>, false>(params, stream);
    if (!aligned) return launch_dgrad<T, TileShape<128, 64, 2, 2>, false>(params, stream);
    if (tile.columns == 128) return launch_dgrad<T, TileShape<128, 128, 2, 2>, true>(params, stream);
    if (tile.rows == 128) return launch_dgrad<T, TileShape<128, 64, 2, 2>, true>(params, stream);
    return launch_dgrad<T, TileShape<64, 64, 2, 2>, true>(params, stream);
  }
}

// One file each: nvcc takes seconds for a type.
extern template bool dispatch_dgrad<float>(const BackwardDataParams& params, DataType type, Stream stream);
extern template bool dispatch_dgrad<bf16>(const BackwardDataParams& params, DataType type, Stream stream);
extern template bool dispatch_dgrad<f16>(const BackwardDataParams& params, DataType type, Stream stream);

}  // namespace engine::kernels::conv
