#pragma once
// Private to kernels. Forward convolution: M = N*P*Q pixels, N = K filters, k = (r, s, c).
#include "kernels/conv/epilogue.h"
#include "kernels/conv/geometry.h"
#include "kernels/conv/sources.h"

namespace engine::kernels::conv {

struct ForwardParams {
  Geometry g;
  const void* x;
  const void* w;
  const float* bias;
  const float* scale;
  const float* shift;
  const void* residual;
  void* y;
  float* partials;
  bool tf32;  // of f32: tensor cores
  bool relu;
  bool aligned_y;  // K/groups is a multiple of a chunk
};

template <class T, class Shape>
struct ForwardEpilogue {
  using Rows = StagedRows<Shape, kVector<T>>;
  using Sums = ColumnSums<Rows, Shape>;
  static constexpr int kScratchFloats = Sums::kFloats + Shape::kN;

  // `first_column` counts within the group, `channel` is the same column's place in a row of y.
  static GPU_DEVICE void run(const ForwardParams& params, float* staged, float* scratch, int tile, int first_column,
                             int channel) {
    const Geometry& g = params.g;
    const int num_rows = min(Shape::kM, g.n * g.p * g.q - tile * Shape::kM);
    const int count = g.group_k - first_column - Rows::column();
    const int own_channel = channel + Rows::column();

    float scale[kVector<T>], shift[kVector<T>], bias[kVector<T>];
    read_channels(scale, offset(params.scale, own_channel), count, 1);
    read_channels(shift, offset(params.shift, own_channel), count, 0);
    read_channels(bias, offset(params.bias, own_channel), count, 0);

    float sum[kVector<T>] = {};
    if (count > 0) {
      for (int row = Rows::first_row(); row < num_rows; row += Rows::kRowsPerPass) {
        const int64_t at = (static_cast<int64_t>(tile) * Shape::kM + row) * g.k + own_channel;
        float values[kVector<T>], residual[kVector<T>] = {};
        Rows::read(values, staged, row);
        if (params.residual != nullptr)
          read_chunk(residual, static_cast<const T*>(params.residual) + at, count, params.aligned_y);
#pragma unroll
        for (int e = 0; e < kVector<T>; ++e) {
          values[e] = (values[e] + bias[e]) * scale[e] + shift[e] + residual[e];
          if (params.relu && values[e] < 0) values[e] = 0;
        }
        write_chunk(static_cast<T*>(params.y) + at, values, count, params.aligned_y);
        if (params.partials == nullptr) continue;
#pragma unroll
        for (int e = 0; e < kVector<T>; ++e) sum[e] += values[e];
        Rows::write(staged, row, values);
      }
    }
    if (params.partials != nullptr)
      statistics(params, staged, scratch, sum, tile, num_rows, g.group_k - first_column, channel);
  }

 private:
  static GPU_DEVICE const float* offset(const float* values, int channel) {
    return values == nullptr ? nullptr : values + channel;
  }

  // Mean, then squares of differences from it, of the rounded values that `staged` now holds.
  static GPU_DEVICE void statistics(const ForwardParams& params, const float* staged, float* scratch,
                                    const float (&sum)[kVector<T>], int tile, int num_rows, int columns, int channel) {
    const int thread = static_cast<int>(threadIdx.x);
    float* means = scratch + Sums::kFloats;
    const float mean = Sums::total(scratch, sum) / static_cast<float>(num_rows);
    if (thread < Shape::kN) means[thread] = mean;
    // The means are there, and the scratch of the sums has been read.
    __syncthreads();
    float m2[kVector<T>] = {};
    if (Rows::column() < columns)
      for (int row = Rows::first_row(); row < num_rows; row += Rows::kRowsPerPass) {
        float values[kVector<T>];
        Rows::read(values, staged, row);
#pragma unroll
        for (int e = 0; e < kVector<T>; ++e) {
          const float difference = values[e] - means[Rows::column() + e];
          m2[e] += difference * difference;
        }
      }
    const float total = Sums::total(scratch, m2);
    if (thread < Shape::kN && thread < columns) {
      float* part = params.partials + static_cast<int64_t>(tile) * 2 * params.g.k + channel + thread;
      part[0] = mean;
      part[params.g.k] = total;
    }
  }
};

template <class T, class Shape>
struct Forward {
  using SliceA = Slice<T, gpu::Major::k, Shape::kM>;
  using SliceB = Slice<T, gpu::Major::k, Shape::kN>;
  using Epilogue = ForwardEpilogue<T, Shape>;
  static constexpr int kBodyBytes = larger(kRingBytes<SliceA, SliceB>, Staged<Shape>::kBytes);
  static constexpr int kSharedBytes = kBodyBytes + Epilogue::kScratchFloats * static_cast<int>(sizeof(float));
};

// Grid: x = tiles of rows and columns, columns first, so that blocks running at a time share patches; y = groups.
template <class T, class Shape, bool kAligned>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    conv_fprop_kernel(const __grid_constant__ ForwardParams params) {
  using Kernel = Forward<T, Shape>;
  const Geometry& g = params.g;
  const int column_tiles = ceil_div(g.group_k, Shape::kN);
  const int tile = static_cast<int>(blockIdx.x) / column_tiles;
  const int first_column = static_cast<int>(blockIdx.x) % column_tiles * Shape::kN;
  const int group = static_cast<int>(blockIdx.y);
  const int depth = g.r * g.s * g.group_c;

  const Patches patches = {.image = static_cast<const T*>(params.x) + group * g.group_c,
                           .pixel_stride = g.c,
                           .height = g.h,
                           .width = g.w,
                           .channels = g.group_c,
                           .num_rows = g.n * g.p * g.q,
                           .rows_h = g.p,
                           .rows_w = g.q,
                           .stride = g.stride,
                           .offset_h = -g.padding,
                           .offset_w = -g.padding,
                           .taps_h = g.r,
                           .taps_w = g.s};
  const Matrix filters = {.data = static_cast<const T*>(params.w) + static_cast<int64_t>(group) * g.group_k * depth,
                          .stride = depth,
                          .rows = g.group_k,
                          .columns = depth};

  char* shared = gpu::dyn_smem();
  Multiplier<T, Shape, typename Kernel::SliceA, typename Kernel::SliceB> product;
  {
    PatchRows<T, typename Kernel::SliceA, kAligned> a(patches, tile * Shape::kM);
    MatrixRows<T, typename Kernel::SliceB, kAligned> b(filters, first_column);
    for_each_slice<typename Kernel::SliceA, typename Kernel::SliceB>(
        shared, a, b, ceil_div(depth, kDepth<T>),
        [&](const char* slice_a, const char* slice_b) { product.multiply(slice_a, slice_b); });
  }
  float* staged = reinterpret_cast<float*>(shared);
  product.store(staged);
  // The tile is complete: its rows are read by other threads than wrote them.
  __syncthreads();
  Kernel::Epilogue::run(params, staged, reinterpret_cast<float*>(shared + Kernel::kBodyBytes), tile, first_column,
                        group * g.group_k + first_column);
}

template <class T, class Shape, bool kAligned>
bool launch_fprop(const ForwardParams& params, Stream stream) {
  const Geometry& g = params.g;
  const int64_t blocks = static_cast<int64_t>(ceil_div(g.n * g.p * g.q, Shape::kM)) * ceil_div(g.group_k, Shape::kN);
  if (blocks > INT32_MAX) return false;
  return gpu::launch(conv_fprop_kernel<T, Shape, kAligned>,
                     {.grid = dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(g.groups)),
                      .block = dim3(kThreads),
                      .shared_bytes = Forward<T, Shape>::kSharedBytes,
                      .stream = stream},
                     params);
}

inline TileChoice choose_fprop_tile(const Geometry& g, DataType type) {
  return choose_tile(int64_t{g.n} * g.p * g.q, g.group_k, g.groups, type, !whole_chunks(g.group_c, type));
}

template <class T>
bool dispatch_fprop(const ForwardParams& params, DataType type, Stream stream) {
  const TileChoice tile = choose_fprop_tile(params.g, type);
  const bool aligned = whole_chunks(params.g.group_c, type);
  if constexpr (sizeof(T) == 4) {
    if (params.tf32 && tile.columns == 32)
      return aligned ? launch_fprop<T, TileShape<128, 32, 4, 1>, true>(params, stream)
                     : launch_fprop<T, TileShape<128, 32, 4, 1>, false>(params, stream);
    if (params.tf32)
      return aligned ? launch_fprop<T, TileShape<128, 64, 2, 2>, true>(params, stream)
                     : launch_fprop<T, TileShape<128, 64, 2, 2>, false>(params, stream);
    if (tile.columns == 32)
      return aligned ? launch_fprop<T, TileShape<128, 32, 16, 8>, true>(params, stream)
                     : launch_fprop<T, TileShape<128, 32, 16, 8>, false>(params, stream);
    return aligned ? launch_fprop<T, TileShape<128, 64, 16, 8>, true>(params, stream)
                   : launch_fprop<T, TileShape<128, 64, 16, 8>, false>(params, stream);
  } else {
    if (tile.columns == 32)
      return aligned ? launch_fprop<T, TileShape<128, 32, 4, 1>, true>(params, stream)
                     : launch_fprop<T, TileShape<128, 32, 4, 1>, false>(params, stream);
    if (!aligned) return launch_fprop<T, TileShape<128, 64, 2, 2>, false>(params, stream);
    if (tile.columns == 128) return launch_fprop<T, TileShape<128, 128, 2, 2>, true>(params, stream);
    if (tile.rows == 128) return launch_fprop<T, TileShape<128, 64, 2, 2>, true>(params, stream);
    return launch_fprop<T, TileShape<64, 64, 2, 2>, true>(params, stream);
  }
}

// One file each: nvcc takes seconds for a type.
extern template bool dispatch_fprop<float>(const ForwardParams& params, DataType type, Stream stream);
extern template bool dispatch_fprop<bf16>(const ForwardParams& params, DataType type, Stream stream);
extern template bool dispatch_fprop<f16>(const ForwardParams& params, DataType type, Stream stream);

}  // namespace engine::kernels::conv
