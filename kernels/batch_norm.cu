// Forward: statistics of the batch and the normalisation.
#include "kernels/batch_norm.h"

#include "kernels/batch_norm_parts.h"

namespace engine::kernels {
namespace {

// Sums of x - x0 and (x - x0)^2 with x0 = the part's first row: like a sample of the distribution, x0 is about a
// standard deviation away from the mean, so that nothing cancels, whatever the mean is.
template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    statistics(const T* x, float* partials, int64_t rows, int64_t channels, int64_t rows_per_part, int lanes) {
  GPU_SHARED(float, shared, 2 * V * kThreads);
  const ChannelThread thread = channel_thread<V>(lanes, channels);
  const int64_t first = blockIdx.x * rows_per_part, last = min(first + rows_per_part, rows);
  Floats<V> sums[2] = {}, origin = {};
  if (thread.active) {
    origin = load<V>(x + first * channels + thread.c);
    for (int64_t row = first + thread.row; row < last; row += thread.rows) {
      const Floats<V> values = load<V>(x + row * channels + thread.c);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        const float d = values[j] - origin[j];
        sums[0][j] += d;
        sums[1][j] = fmaf(d, d, sums[1][j]);
      }
    }
  }
  add_rows(sums, lanes, shared);
  if (thread.row != 0 || !thread.active) return;
  const float count = static_cast<float>(last - first);
  Floats<V> mean, m2;
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const float d = sums[0][j] / count;
    mean[j] = origin[j] + d;
    m2[j] = relu(fmaf(-d, sums[0][j], sums[1][j]));
  }
  float* const to = partials + 2 * blockIdx.x * channels + thread.c;
  store(to, mean);
  store(to + channels, m2);
}

// y = act(x*scale + shift + r), r = residual (*residual_scale + residual_shift).
template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    normalize(const T* x, const float* scale, const float* shift, const T* residual, const float* residual_scale,
              const float* residual_shift, bool with_relu, T* y, int64_t rows, int64_t channels, int lanes) {
  const ChannelThread thread = channel_thread<V>(lanes, channels);
  if (!thread.active) return;
  const Floats<V> a = load<V>(scale + thread.c);
  Floats<V> b = load<V>(shift + thread.c), c;
#pragma unroll
  for (int j = 0; j < V; ++j) c[j] = 1.0f;
  if (residual_scale) {
    c = load<V>(residual_scale + thread.c);
    const Floats<V> d = load<V>(residual_shift + thread.c);
#pragma unroll
    for (int j = 0; j < V; ++j) b[j] += d[j];
  }
  const int64_t step = static_cast<int64_t>(gridDim.x) * thread.rows;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * thread.rows + thread.row; row < rows; row += step) {
    const int64_t at = row * channels + thread.c;
    Floats<V> values = load<V>(x + at), others = {};
    if (residual) others = load<V>(residual + at);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      float v = fmaf(values[j], a[j], b[j]);
      if (residual) v = fmaf(others[j], c[j], v);
      values[j] = with_relu ? relu(v) : v;
    }
    store(y + at, values);
  }
}

}  // namespace

RowParts batch_norm_parts(int64_t rows, int64_t channels) {
  return row_parts(rows, channels);
}

bool batch_norm_statistics(const BatchNormStatistics& args, Stream stream) {
  if (args.rows < 1 || args.channels < 1 || !args.x || !args.partials) return false;
  const RowParts parts = row_parts(args.rows, args.channels);
  return with_type(args.type, [&](auto stored) {
    using T = decltype(stored);
    const bool vectors = args.channels % kVector<T> == 0 && aligned16(args.x, args.partials);
    const ChannelGrid grid = vectors ? channel_grid<kVector<T>>(args.channels) : channel_grid<1>(args.channels);
    return grid.launchable() && gpu::launch(vectors ? statistics<T, kVector<T>> : statistics<T, 1>,
                                            {.grid = grid.grid(parts.parts), .block = kThreads, .stream = stream},
                                            static_cast<const T*>(args.x), args.partials, args.rows, args.channels,
                                            parts.rows_per_part, grid.lanes);
  });
}
Cost batch_norm_statistics_cost(const BatchNormStatistics& args) {
  const int64_t count = args.rows * args.channels;
  return {.bytes = count * size_of(args.type), .flops = 4 * count};
}

bool batch_norm_normalize(const BatchNormNormalize& args, Stream stream) {
  if (args.rows < 1 || args.channels < 1 || !args.x || !args.scale || !args.shift || !args.y) return false;
  if (!args.residual_scale != !args.residual_shift || (args.residual_scale && !args.residual)) return false;
  return with_type(args.type, [&](auto stored) {
    using T = decltype(stored);
    const bool vectors =
        args.channels % kVector<T> == 0 &&
        aligned16(args.x, args.residual, args.y, args.scale, args.shift, args.residual_scale, args.residual_shift);
    const ChannelGrid grid = vectors ? channel_grid<kVector<T>>(args.channels) : channel_grid<1>(args.channels);
    return grid.launchable() &&
           gpu::launch(vectors ? normalize<T, kVector<T>> : normalize<T, 1>,
                       {.grid = grid.grid(grid.row_blocks(args.rows)), .block = kThreads, .stream = stream},
                       static_cast<const T*>(args.x), args.scale, args.shift, static_cast<const T*>(args.residual),
                       args.residual_scale, args.residual_shift, args.relu, static_cast<T*>(args.y), args.rows,
                       args.channels, grid.lanes);
  });
}
Cost batch_norm_normalize_cost(const BatchNormNormalize& args) {
  const int64_t count = args.rows * args.channels;
  return {.bytes = (args.residual ? 3 : 2) * count * size_of(args.type), .flops = (args.residual ? 5 : 3) * count};
}

}  // namespace engine::kernels
