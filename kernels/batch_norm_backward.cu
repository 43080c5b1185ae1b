// Backward: the sums over the rows, and the gradient of the input.
#include "kernels/batch_norm.h"
#include "kernels/batch_norm_parts.h"

namespace engine::kernels {
namespace {

// One normalised branch: its input and mean, and where its sums or its gradient go.
template <class T>
struct Branch {
  const T* x;
  const float* mean;
  float* partials;
};

// Sums of dz and of dz*(x - mean) of one branch, or of two that share dz.
template <class T, int V, bool kTwo>
__global__ void __launch_bounds__(kThreads) reduce(const T* dy, const T* y, Branch<T> one, Branch<T> two, T* dresidual,
                                                   int64_t rows, int64_t channels, int64_t rows_per_part, int lanes) {
  constexpr int kSums = kTwo ? 3 : 2;
  GPU_SHARED(float, shared, kSums* V* kThreads);
  const ChannelThread thread = channel_thread<V>(lanes, channels);
  const int64_t first = blockIdx.x * rows_per_part, last = min(first + rows_per_part, rows);
  Floats<V> sums[kSums] = {};
  if (thread.active) {
    const Floats<V> mean = load<V>(one.mean + thread.c);
    Floats<V> second_mean = {};
    if constexpr (kTwo) second_mean = load<V>(two.mean + thread.c);
    for (int64_t row = first + thread.row; row < last; row += thread.rows) {
      const int64_t at = row * channels + thread.c;
      Floats<V> dz = load<V>(dy + at), second_x = {};
      const Floats<V> x = load<V>(one.x + at);
      if constexpr (kTwo) second_x = load<V>(two.x + at);
      if (y) {
        const Floats<V> mask = load<V>(y + at);
#pragma unroll
        for (int j = 0; j < V; ++j) dz[j] = mask[j] > 0 ? dz[j] : 0.0f;
      }
#pragma unroll
      for (int j = 0; j < V; ++j) {
        sums[0][j] += dz[j];
        sums[1][j] = fmaf(dz[j], x[j] - mean[j], sums[1][j]);
        if constexpr (kTwo) sums[2][j] = fmaf(dz[j], second_x[j] - second_mean[j], sums[2][j]);
      }
      if (dresidual) store(dresidual + at, dz);
    }
  }
  add_rows(sums, lanes, shared);
  if (thread.row != 0 || !thread.active) return;
  const int64_t to = 2 * blockIdx.x * channels + thread.c;
  store(one.partials + to, sums[0]);
  store(one.partials + to + channels, sums[1]);
  if constexpr (kTwo) {
    store(two.partials + to, sums[0]);
    store(two.partials + to + channels, sums[2]);
  }
}

template <class T>
struct Gradient {
  const T* x;
  const float *mean, *a, *b, *c;
  T* dx;
};

// The coefficients of a branch, and its dx from dz.
template <class T, int V>
struct Coefficients {
  Floats<V> mean, a, b, c;
  GPU_DEVICE Coefficients(const Gradient<T>& g, int64_t at)
      : mean(load<V>(g.mean + at)), a(load<V>(g.a + at)), b(load<V>(g.b + at)), c(load<V>(g.c + at)) {}
  GPU_DEVICE Floats<V> dx(const Floats<V>& dz, const Floats<V>& x) const {
    Floats<V> result;
#pragma unroll
    for (int j = 0; j < V; ++j) result[j] = fmaf(a[j], dz[j], fmaf(b[j], x[j] - mean[j], c[j]));
    return result;
  }
};

template <class T, int V, bool kTwo>
__global__ void __launch_bounds__(kThreads)
    apply(const T* dy, const T* y, Gradient<T> one, Gradient<T> two, int64_t rows, int64_t channels, int lanes) {
  const ChannelThread thread = channel_thread<V>(lanes, channels);
  if (!thread.active) return;
  const Coefficients<T, V> first(one, thread.c), second(kTwo ? two : one, thread.c);
  const int64_t step = static_cast<int64_t>(gridDim.x) * thread.rows;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * thread.rows + thread.row; row < rows; row += step) {
    const int64_t at = row * channels + thread.c;
    Floats<V> dz = load<V>(dy + at);
    if (y) {
      const Floats<V> mask = load<V>(y + at);
#pragma unroll
      for (int j = 0; j < V; ++j) dz[j] = mask[j] > 0 ? dz[j] : 0.0f;
    }
    store(one.dx + at, first.dx(dz, load<V>(one.x + at)));
    if constexpr (kTwo) store(two.dx + at, second.dx(dz, load<V>(two.x + at)));
  }
}

}  // namespace

bool batch_norm_backward_reduce(const BatchNormBackwardReduce& args, Stream stream) {
  if (args.rows < 1 || args.channels < 1 || !args.dy || !args.x || !args.mean || !args.partials) return false;
  const bool two = args.second_x != nullptr;
  if (two != (args.second_mean != nullptr) || two != (args.second_partials != nullptr)) return false;
  const RowParts parts = row_parts(args.rows, args.channels);
  return with_type(args.type, [&](auto stored) {
    using T = decltype(stored);
    constexpr int kWide = kVector<T>;
    const bool vectors =
        args.channels % kWide == 0 && aligned16(args.dy, args.y, args.x, args.mean, args.partials, args.dresidual,
                                                args.second_x, args.second_mean, args.second_partials);
    const ChannelGrid grid = vectors ? channel_grid<kWide>(args.channels) : channel_grid<1>(args.channels);
    const auto kernel = two ? (vectors ? reduce<T, kWide, true> : reduce<T, 1, true>)
                            : (vectors ? reduce<T, kWide, false> : reduce<T, 1, false>);
    return grid.launchable() &&
           gpu::launch(kernel, {.grid = grid.grid(parts.parts), .block = kThreads, .stream = stream},
                       static_cast<const T*>(args.dy), static_cast<const T*>(args.y),
                       Branch<T>{static_cast<const T*>(args.x), args.mean, args.partials},
                       Branch<T>{static_cast<const T*>(args.second_x), args.second_mean, args.second_partials},
                       static_cast<T*>(args.dresidual), args.rows, args.channels, parts.rows_per_part, grid.lanes);
  });
}
Cost batch_norm_backward_reduce_cost(const BatchNormBackwardReduce& args) {
  const int64_t count = args.rows * args.channels;
  const int64_t tensors = 2 + (args.y ? 1 : 0) + (args.dresidual ? 1 : 0) + (args.second_x ? 1 : 0);
  return {.bytes = tensors * count * size_of(args.type), .flops = (args.second_x ? 7 : 4) * count};
}

bool batch_norm_backward_apply(const BatchNormBackwardApply& args, Stream stream) {
  if (args.rows < 1 || args.channels < 1 || !args.dy || !args.x || !args.mean || !args.a || !args.b || !args.c ||
      !args.dx)
    return false;
  const bool two = args.second_x != nullptr;
  for (const void* pointer : {static_cast<const void*>(args.second_mean), static_cast<const void*>(args.second_a),
                              static_cast<const void*>(args.second_b), static_cast<const void*>(args.second_c),
                              static_cast<const void*>(args.second_dx)})
    if (two != (pointer != nullptr)) return false;
  return with_type(args.type, [&](auto stored) {
    using T = decltype(stored);
    constexpr int kWide = kVector<T>;
    const bool vectors = args.channels % kWide == 0 &&
                         aligned16(args.dy, args.y, args.x, args.mean, args.a, args.b, args.c, args.dx, args.second_x,
                                   args.second_mean, args.second_a, args.second_b, args.second_c, args.second_dx);
    const ChannelGrid grid = vectors ? channel_grid<kWide>(args.channels) : channel_grid<1>(args.channels);
    const auto kernel = two ? (vectors ? apply<T, kWide, true> : apply<T, 1, true>)
                            : (vectors ? apply<T, kWide, false> : apply<T, 1, false>);
    return grid.launchable() &&
           gpu::launch(
               kernel, {.grid = grid.grid(grid.row_blocks(args.rows)), .block = kThreads, .stream = stream},
               static_cast<const T*>(args.dy), static_cast<const T*>(args.y),
               Gradient<T>{static_cast<const T*>(args.x), args.mean, args.a, args.b, args.c, static_cast<T*>(args.dx)},
               Gradient<T>{static_cast<const T*>(args.second_x), args.second_mean, args.second_a, args.second_b,
                           args.second_c, static_cast<T*>(args.second_dx)},
               args.rows, args.channels, grid.lanes);
  });
}
Cost batch_norm_backward_apply_cost(const BatchNormBackwardApply& args) {
  const int64_t count = args.rows * args.channels;
  const int64_t tensors = 3 + (args.y ? 1 : 0) + (args.second_x ? 2 : 0);
  return {.bytes = tensors * count * size_of(args.type), .flops = (args.second_x ? 10 : 5) * count};
}

}  // namespace engine::kernels
