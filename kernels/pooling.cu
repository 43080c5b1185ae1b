#include "kernels/pooling.h"

#include "kernels/pooling_windows.h"

namespace engine::kernels {
namespace {

// Walks the pixels of an image batch, V channels of one a thread: body(pixel, first channel).
template <int V, class Body>
GPU_DEVICE void for_each_pixel(int64_t pixels, int64_t channels, int lanes, const Body& body) {
  const ChannelThread thread = channel_thread<V>(lanes, channels);
  if (!thread.active) return;
  const int64_t step = static_cast<int64_t>(gridDim.x) * thread.rows;
  for (int64_t pixel = static_cast<int64_t>(blockIdx.x) * thread.rows + thread.row; pixel < pixels; pixel += step)
    body(static_cast<int>(pixel), thread.c);
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    max_pool(const T* x, T* y, uint8_t* argmax, Plane plane, int64_t pixels, int64_t channels, int lanes) {
  for_each_pixel<V>(pixels, channels, lanes, [&](int pixel, int64_t c) {
    int where[V] = {};
    const Floats<V> best = pool_maximum<V>(x, plane, position_of(pixel, plane.p, plane.q), channels, c, where,
                                           [](const Floats<V>& values) { return values; });
    store(y + pixel * channels + c, best);
    if (argmax) store_bytes<V>(argmax + pixel * channels + c, where);
  });
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads) max_pool_gradient(const T* dy, const uint8_t* argmax, T* dx, Plane plane,
                                                              int64_t pixels, int64_t channels, int lanes) {
  Floats<V> always;
#pragma unroll
  for (int j = 0; j < V; ++j) always[j] = 1.0f;
  for_each_pixel<V>(pixels, channels, lanes, [&](int pixel, int64_t c) {
    store(dx + pixel * channels + c, unpool<V>(dy, argmax, plane, position_of(pixel, plane.h, plane.w), channels, c,
                                               [&](int64_t) { return always; }));
  });
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    avg_pool(const T* x, T* y, Plane plane, int64_t pixels, int64_t channels, int lanes) {
  const float scale = 1.0f / static_cast<float>(plane.window * plane.window);
  for_each_pixel<V>(pixels, channels, lanes, [&](int pixel, int64_t c) {
    const Position at = position_of(pixel, plane.p, plane.q);
    Floats<V> sum = {};
    for (int i = 0; i < plane.window; ++i)
      for (int j = 0; j < plane.window; ++j) {
        const int64_t from = (static_cast<int64_t>(at.image) * plane.h + at.row * plane.stride + i) * plane.w +
                             at.column * plane.stride + j;
        const Floats<V> values = load<V>(x + from * channels + c);
#pragma unroll
        for (int k = 0; k < V; ++k) sum[k] += values[k];
      }
#pragma unroll
    for (int k = 0; k < V; ++k) sum[k] *= scale;
    store(y + pixel * channels + c, sum);
  });
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    avg_pool_gradient(const T* dy, T* dx, Plane plane, int64_t pixels, int64_t channels, int lanes) {
  const float scale = 1.0f / static_cast<float>(plane.window * plane.window);
  for_each_pixel<V>(pixels, channels, lanes, [&](int pixel, int64_t c) {
    const Position at = position_of(pixel, plane.h, plane.w);
    const Range rows = covering(at.row, plane.p, plane), columns = covering(at.column, plane.q, plane);
    Floats<V> sum = {};
    for (int p = rows.begin; p < rows.end; ++p)
      for (int q = columns.begin; q < columns.end; ++q) {
        const int64_t from = (static_cast<int64_t>(at.image) * plane.p + p) * plane.q + q;
        const Floats<V> values = load<V>(dy + from * channels + c);
#pragma unroll
        for (int k = 0; k < V; ++k) sum[k] += values[k];
      }
#pragma unroll
    for (int k = 0; k < V; ++k) sum[k] *= scale;
    store(dx + pixel * channels + c, sum);
  });
}

template <int V>
bool vectors_fit(int64_t channels, const void* x, const void* y, const uint8_t* bytes) {
  return channels % V == 0 && aligned16(x, y, bytes);
}

// launch(T{}, width, grid): width is an integral constant.
template <class Launch>
bool launch_pool(const Pool2dShape& s, DataType type, int64_t pixels, const void* x, const void* y,
                 const uint8_t* argmax, const Launch& launch) {
  return with_type(type, [&](auto stored) {
    constexpr int kWide = kVector<decltype(stored)>;
    if (vectors_fit<kWide>(s.c, x, y, argmax)) {
      const ChannelGrid grid = channel_grid<kWide>(s.c);
      return grid.launchable() && launch(stored, std::integral_constant<int, kWide>{}, grid, pixels);
    }
    const ChannelGrid grid = channel_grid<1>(s.c);
    return grid.launchable() && launch(stored, std::integral_constant<int, 1>{}, grid, pixels);
  });
}

int64_t inputs(const Pool2dShape& s) {
  return s.n * s.h * s.w * s.c;
}
int64_t outputs(const Pool2dShape& s) {
  return s.n * s.p() * s.q() * s.c;
}

}  // namespace

bool max_pool_forward(const MaxPoolForward& args, Stream stream) {
  const Pool2dShape& s = args.shape;
  if (!valid(s) || s.window > 16 || !args.x || !args.y) return false;
  return launch_pool(s, args.type, s.n * s.p() * s.q(), args.x, args.y, args.argmax,
                     [&](auto stored, auto width, const ChannelGrid& grid, int64_t pixels) {
                       using T = decltype(stored);
                       return gpu::launch(
                           max_pool<T, decltype(width)::value>,
                           {.grid = grid.grid(grid.row_blocks(pixels)), .block = kThreads, .stream = stream},
                           static_cast<const T*>(args.x), static_cast<T*>(args.y), args.argmax, plane_of(s), pixels,
                           s.c, grid.lanes);
                     });
}
Cost max_pool_forward_cost(const MaxPoolForward& args) {
  const Pool2dShape& s = args.shape;
  return {.bytes = (inputs(s) + outputs(s)) * size_of(args.type) + (args.argmax ? outputs(s) : 0),
          .flops = outputs(s) * s.window * s.window};
}

bool max_pool_backward(const MaxPoolBackward& args, Stream stream) {
  const Pool2dShape& s = args.shape;
  if (!valid(s) || s.window > 16 || !args.dy || !args.argmax || !args.dx) return false;
  return launch_pool(s, args.type, s.n * s.h * s.w, args.dy, args.dx, args.argmax,
                     [&](auto stored, auto width, const ChannelGrid& grid, int64_t pixels) {
                       using T = decltype(stored);
                       return gpu::launch(
                           max_pool_gradient<T, decltype(width)::value>,
                           {.grid = grid.grid(grid.row_blocks(pixels)), .block = kThreads, .stream = stream},
                           static_cast<const T*>(args.dy), args.argmax, static_cast<T*>(args.dx), plane_of(s), pixels,
                           s.c, grid.lanes);
                     });
}
Cost max_pool_backward_cost(const MaxPoolBackward& args) {
  const Pool2dShape& s = args.shape;
  return {.bytes = (inputs(s) + outputs(s)) * size_of(args.type) + outputs(s), .flops = outputs(s)};
}

bool avg_pool_forward(const AvgPoolForward& args, Stream stream) {
  const Pool2dShape& s = args.shape;
  if (!valid(s) || s.padding != 0 || !args.x || !args.y) return false;
  return launch_pool(s, args.type, s.n * s.p() * s.q(), args.x, args.y, nullptr,
                     [&](auto stored, auto width, const ChannelGrid& grid, int64_t pixels) {
                       using T = decltype(stored);
                       return gpu::launch(
                           avg_pool<T, decltype(width)::value>,
                           {.grid = grid.grid(grid.row_blocks(pixels)), .block = kThreads, .stream = stream},
                           static_cast<const T*>(args.x), static_cast<T*>(args.y), plane_of(s), pixels, s.c,
                           grid.lanes);
                     });
}
Cost avg_pool_forward_cost(const AvgPoolForward& args) {
  const Pool2dShape& s = args.shape;
  return {.bytes = (inputs(s) + outputs(s)) * size_of(args.type), .flops = outputs(s) * (s.window * s.window + 1)};
}

bool avg_pool_backward(const AvgPoolBackward& args, Stream stream) {
  const Pool2dShape& s = args.shape;
  if (!valid(s) || s.padding != 0 || !args.dy || !args.dx) return false;
  return launch_pool(s, args.type, s.n * s.h * s.w, args.dy, args.dx, nullptr,
                     [&](auto stored, auto width, const ChannelGrid& grid, int64_t pixels) {
                       using T = decltype(stored);
                       return gpu::launch(
                           avg_pool_gradient<T, decltype(width)::value>,
                           {.grid = grid.grid(grid.row_blocks(pixels)), .block = kThreads, .stream = stream},
                           static_cast<const T*>(args.dy), static_cast<T*>(args.dx), plane_of(s), pixels, s.c,
                           grid.lanes);
                     });
}
Cost avg_pool_backward_cost(const AvgPoolBackward& args) {
  const Pool2dShape& s = args.shape;
  return {.bytes = (inputs(s) + outputs(s)) * size_of(args.type), .flops = outputs(s) * s.window * s.window};
}

}  // namespace engine::kernels
