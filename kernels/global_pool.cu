// The mean over all pixels, forward and backward.
#include "kernels/batch_norm_parts.h"
#include "kernels/pooling.h"

namespace engine::kernels {
namespace {

// A block a tile of channels of one image at a time.
template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    global_mean(const T* x, T* y, int64_t images, int64_t pixels, int64_t channels, int lanes) {
  GPU_SHARED(float, shared, V* kThreads);
  const ChannelThread thread = channel_thread<V>(lanes, channels);
  const float scale = 1.0f / static_cast<float>(pixels);
  for (int64_t image = blockIdx.x; image < images; image += gridDim.x) {
    Floats<V> sums[1] = {};
    if (thread.active)
      for (int64_t pixel = thread.row; pixel < pixels; pixel += thread.rows) {
        const Floats<V> values = load<V>(x + (image * pixels + pixel) * channels + thread.c);
#pragma unroll
        for (int j = 0; j < V; ++j) sums[0][j] += values[j];
      }
    add_rows(sums, lanes, shared);
    if (thread.row == 0 && thread.active) {
#pragma unroll
      for (int j = 0; j < V; ++j) sums[0][j] *= scale;
      store(y + image * channels + thread.c, sums[0]);
    }
    __syncthreads();  // the sums have been read, the next image may overwrite them
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    spread_mean(const T* dy, T* dx, int64_t images, int64_t pixels, int64_t channels, int lanes) {
  const ChannelThread thread = channel_thread<V>(lanes, channels);
  if (!thread.active) return;
  const float scale = 1.0f / static_cast<float>(pixels);
  for (int64_t image = blockIdx.x; image < images; image += gridDim.x) {
    Floats<V> values = load<V>(dy + image * channels + thread.c);
#pragma unroll
    for (int j = 0; j < V; ++j) values[j] *= scale;
    for (int64_t pixel = thread.row; pixel < pixels; pixel += thread.rows)
      store(dx + (image * pixels + pixel) * channels + thread.c, values);
  }
}

bool launch_mean(bool forward, int64_t images, int64_t pixels, int64_t channels, DataType type, const void* from,
                 void* to, Stream stream) {
  if (images < 1 || pixels < 1 || channels < 1 || !from || !to) return false;
  return with_type(type, [&](auto stored) {
    using T = decltype(stored);
    constexpr int kWide = kVector<T>;
    const bool vectors = channels % kWide == 0 && aligned16(from, to);
    const ChannelGrid grid = vectors ? channel_grid<kWide>(channels) : channel_grid<1>(channels);
    const auto kernel = forward ? (vectors ? global_mean<T, kWide> : global_mean<T, 1>)
                                : (vectors ? spread_mean<T, kWide> : spread_mean<T, 1>);
    return grid.launchable() &&
           gpu::launch(kernel, {.grid = grid.grid(blocks_for(images, 1)), .block = kThreads, .stream = stream},
                       static_cast<const T*>(from), static_cast<T*>(to), images, pixels, channels, grid.lanes);
  });
}

}  // namespace

bool global_avg_pool_forward(const GlobalAvgPoolForward& args, Stream stream) {
  return launch_mean(true, args.n, args.pixels, args.c, args.type, args.x, args.y, stream);
}
Cost global_avg_pool_forward_cost(const GlobalAvgPoolForward& args) {
  const int64_t outputs = args.n * args.c;
  return {.bytes = outputs * (args.pixels + 1) * size_of(args.type), .flops = outputs * (args.pixels + 1)};
}

bool global_avg_pool_backward(const GlobalAvgPoolBackward& args, Stream stream) {
  return launch_mean(false, args.n, args.pixels, args.c, args.type, args.dy, args.dx, stream);
}
Cost global_avg_pool_backward_cost(const GlobalAvgPoolBackward& args) {
  const int64_t outputs = args.n * args.c;
  return {.bytes = outputs * (args.pixels + 1) * size_of(args.type), .flops = outputs};
}

}  // namespace engine::kernels
