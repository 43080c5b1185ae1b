#include "kernels/batch_norm_pool.h"

#include "kernels/batch_norm_parts.h"
#include "kernels/pooling_windows.h"

namespace engine::kernels {
namespace {

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    normalize_and_pool(const T* x, const float* scale, const float* shift, T* y, uint8_t* argmax, Plane plane,
                       int64_t pixels, int64_t channels, int lanes) {
  const ChannelThread thread = channel_thread<V>(lanes, channels);
  if (!thread.active) return;
  const Floats<V> a = load<V>(scale + thread.c), b = load<V>(shift + thread.c);
  const int64_t step = static_cast<int64_t>(gridDim.x) * thread.rows;
  for (int64_t pixel = static_cast<int64_t>(blockIdx.x) * thread.rows + thread.row; pixel < pixels; pixel += step) {
    int where[V] = {};
    // The maximum of rounded values, as if the activation had been stored.
    const Floats<V> best = pool_maximum<V>(x, plane, position_of(static_cast<int>(pixel), plane.p, plane.q), channels,
                                           thread.c, where, [&](Floats<V> values) {
#pragma unroll
                                             for (int j = 0; j < V; ++j)
                                               values[j] = rounded<T>(relu(fmaf(values[j], a[j], b[j])));
                                             return values;
                                           });
    store(y + pixel * channels + thread.c, best);
    store_bytes<V>(argmax + pixel * channels + thread.c, where);
  }
}

// Every output sends its gradient to one pixel of x, whose place in the sums is therefore that of the output.
template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    pooled_sums(const T* dy, const T* y, const uint8_t* argmax, const T* x, const float* mean, float* partials,
                Plane plane, int64_t pixels, int64_t channels, int64_t rows_per_part, int lanes) {
  GPU_SHARED(float, shared, 2 * V * kThreads);
  const ChannelThread thread = channel_thread<V>(lanes, channels);
  const int64_t first = blockIdx.x * rows_per_part, last = min(first + rows_per_part, pixels);
  Floats<V> sums[2] = {};
  if (thread.active) {
    const Floats<V> center = load<V>(mean + thread.c);
#pragma unroll 1  // ptxas would unroll the narrow kernels into spills
    for (int64_t pixel = first + thread.row; pixel < last; pixel += thread.rows) {
      const int64_t element = pixel * channels + thread.c;
      const Position at = position_of(static_cast<int>(pixel), plane.p, plane.q);
      const Floats<V> values = load<V>(dy + element), mask = load<V>(y + element);
      const Bytes<V> winners = load_bytes<V>(argmax + element);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        const int row = at.row * plane.stride - plane.padding + winners[j] / plane.window;
        const int column = at.column * plane.stride - plane.padding + winners[j] % plane.window;
        const int64_t from = (static_cast<int64_t>(at.image) * plane.h + row) * plane.w + column;
        const float dz = mask[j] > 0 ? values[j] : 0.0f;
        sums[0][j] += dz;
        sums[1][j] = fmaf(dz, gpu::to_float(x[from * channels + thread.c + j]) - center[j], sums[1][j]);
      }
    }
  }
  add_rows(sums, lanes, shared);
  if (thread.row != 0 || !thread.active) return;
  float* const to = partials + 2 * blockIdx.x * channels + thread.c;
  store(to, sums[0]);
  store(to + channels, sums[1]);
}

struct Coefficients {
  const float *mean, *a, *b, *c;
};

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    unpool_and_apply(const T* dy, const T* y, const uint8_t* argmax, const T* x, Coefficients k, T* dx, Plane plane,
                     int64_t pixels, int64_t channels, int lanes) {
  const ChannelThread thread = channel_thread<V>(lanes, channels);
  if (!thread.active) return;
  const Floats<V> mean = load<V>(k.mean + thread.c), a = load<V>(k.a + thread.c), b = load<V>(k.b + thread.c);
  const Floats<V> c = load<V>(k.c + thread.c);
  const int64_t step = static_cast<int64_t>(gridDim.x) * thread.rows;
  for (int64_t pixel = static_cast<int64_t>(blockIdx.x) * thread.rows + thread.row; pixel < pixels; pixel += step) {
    const Floats<V> dz = unpool<V>(dy, argmax, plane, position_of(static_cast<int>(pixel), plane.h, plane.w), channels,
                                   thread.c, [&](int64_t element) { return load<V>(y + element); });
    const int64_t element = pixel * channels + thread.c;
    Floats<V> values = load<V>(x + element);
#pragma unroll
    for (int j = 0; j < V; ++j) values[j] = fmaf(a[j], dz[j], fmaf(b[j], values[j] - mean[j], c[j]));
    store(dx + element, values);
  }
}

bool supported(const Pool2dShape& s) {
  return valid(s) && s.window <= 16;
}

int64_t inputs(const Pool2dShape& s) {
  return s.n * s.h * s.w * s.c;
}
int64_t outputs(const Pool2dShape& s) {
  return s.n * s.p() * s.q() * s.c;
}

}  // namespace

bool batch_norm_pool_forward(const BatchNormPoolForward& args, Stream stream) {
  const Pool2dShape& s = args.shape;
  if (!supported(s) || !args.x || !args.scale || !args.shift || !args.y || !args.argmax) return false;
  const int64_t pixels = s.n * s.p() * s.q();
  return with_type(args.type, [&](auto stored) {
    using T = decltype(stored);
    constexpr int kWide = kVector<T>;
    const bool vectors = s.c % kWide == 0 && aligned16(args.x, args.scale, args.shift, args.y, args.argmax);
    const ChannelGrid grid = vectors ? channel_grid<kWide>(s.c) : channel_grid<1>(s.c);
    return grid.launchable() &&
           gpu::launch(vectors ? normalize_and_pool<T, kWide> : normalize_and_pool<T, 1>,
                       {.grid = grid.grid(grid.row_blocks(pixels)), .block = kThreads, .stream = stream},
                       static_cast<const T*>(args.x), args.scale, args.shift, static_cast<T*>(args.y), args.argmax,
                       plane_of(s), pixels, s.c, grid.lanes);
  });
}
Cost batch_norm_pool_forward_cost(const BatchNormPoolForward& args) {
  const Pool2dShape& s = args.shape;
  return {.bytes = (inputs(s) + outputs(s)) * size_of(args.type) + outputs(s),
          .flops = outputs(s) * s.window * s.window * 4};
}

bool batch_norm_pool_backward_reduce(const BatchNormPoolBackwardReduce& args, Stream stream) {
  const Pool2dShape& s = args.shape;
  if (!supported(s) || !args.dy || !args.y || !args.argmax || !args.x || !args.mean || !args.partials) return false;
  const int64_t pixels = s.n * s.p() * s.q();
  const RowParts parts = row_parts(pixels, s.c);
  return with_type(args.type, [&](auto stored) {
    using T = decltype(stored);
    constexpr int kWide = kVector<T>;
    const bool vectors = s.c % kWide == 0 && aligned16(args.dy, args.y, args.argmax, args.mean, args.partials);
    const ChannelGrid grid = vectors ? channel_grid<kWide>(s.c) : channel_grid<1>(s.c);
    return grid.launchable() && gpu::launch(vectors ? pooled_sums<T, kWide> : pooled_sums<T, 1>,
                                            {.grid = grid.grid(parts.parts), .block = kThreads, .stream = stream},
                                            static_cast<const T*>(args.dy), static_cast<const T*>(args.y), args.argmax,
                                            static_cast<const T*>(args.x), args.mean, args.partials, plane_of(s),
                                            pixels, s.c, parts.rows_per_part, grid.lanes);
  });
}
Cost batch_norm_pool_backward_reduce_cost(const BatchNormPoolBackwardReduce& args) {
  const Pool2dShape& s = args.shape;
  return {.bytes = 3 * outputs(s) * size_of(args.type) + outputs(s), .flops = 4 * outputs(s)};
}

bool batch_norm_pool_backward_apply(const BatchNormPoolBackwardApply& args, Stream stream) {
  const Pool2dShape& s = args.shape;
  if (!supported(s) || !args.dy || !args.y || !args.argmax || !args.x || !args.mean || !args.a || !args.b || !args.c ||
      !args.dx)
    return false;
  const int64_t pixels = s.n * s.h * s.w;
  return with_type(args.type, [&](auto stored) {
    using T = decltype(stored);
    constexpr int kWide = kVector<T>;
    const bool vectors =
        s.c % kWide == 0 && aligned16(args.dy, args.y, args.argmax, args.x, args.mean, args.a, args.b, args.c, args.dx);
    const ChannelGrid grid = vectors ? channel_grid<kWide>(s.c) : channel_grid<1>(s.c);
    return grid.launchable() &&
           gpu::launch(vectors ? unpool_and_apply<T, kWide> : unpool_and_apply<T, 1>,
                       {.grid = grid.grid(grid.row_blocks(pixels)), .block = kThreads, .stream = stream},
                       static_cast<const T*>(args.dy), static_cast<const T*>(args.y), args.argmax,
                       static_cast<const T*>(args.x), Coefficients{args.mean, args.a, args.b, args.c},
                       static_cast<T*>(args.dx), plane_of(s), pixels, s.c, grid.lanes);
  });
}
Cost batch_norm_pool_backward_apply_cost(const BatchNormPoolBackwardApply& args) {
  const Pool2dShape& s = args.shape;
  return {.bytes = 2 * (inputs(s) + outputs(s)) * size_of(args.type) + outputs(s), .flops = 5 * inputs(s) + outputs(s)};
}

}  // namespace engine::kernels
