// Filling, transposing, and the shortcut without parameters. kernels/convert.cu changes types.
#include "kernels/layout.h"

#include "kernels/vector.h"

namespace engine::kernels {
namespace {

// Unsigned integers stand for whatever has their size.
template <class F>
bool with_size(int64_t bytes, const F& f) {
  switch (bytes) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    case 8:
      return f(uint64_t{});
  }
  return false;
}

// y[i] = pattern, which holds the value once or repeated; 16 bytes at a time between single elements at both ends.
template <class T>
__global__ void __launch_bounds__(kThreads) fill_elements(T* y, int64_t count, T value, uint4 pattern) {
  constexpr int kWide = 16 / sizeof(T);
  const int64_t misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(y) % 16 / sizeof(T));
  const int64_t head = min(count, (kWide - misaligned) % kWide), wide = (count - head) / kWide;
  const int64_t tail = head + wide * kWide;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = first; i < wide; i += step) gpu::stg16(y + head + i * kWide, pattern);
  if (first < head) y[first] = value;
  if (first < count - tail) y[tail + first] = value;
}

template <class T>
T bits_of(ElementType type, double value) {
  switch (type) {
    case ElementType::f32:
      return static_cast<T>(std::bit_cast<uint32_t>(static_cast<float>(value)));
    case ElementType::bf16:
      return static_cast<T>(from_float<bf16>(static_cast<float>(value)).bits);
    case ElementType::f16:
      return static_cast<T>(from_float<f16>(static_cast<float>(value)).bits);
    case ElementType::u8:
      return static_cast<T>(static_cast<uint8_t>(value));
    case ElementType::i64:
      break;
  }
  return static_cast<T>(static_cast<int64_t>(value));
}

// y[b][column][row] = x[b][row][column] by tiles of 32x32: rows of both are read and written side by side.
constexpr int kTile = 32;

template <class T>
__global__ void __launch_bounds__(kThreads) transpose_tiles(const T* x, T* y, int64_t rows, int64_t columns,
                                                            int64_t row_tiles, int64_t column_tiles, int64_t tiles) {
  GPU_SHARED(T, tile, kTile * (kTile + 1));
  const int lane = static_cast<int>(threadIdx.x) % kTile, first = static_cast<int>(threadIdx.x) / kTile;
  for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const int64_t batch = t / (row_tiles * column_tiles), row = t / column_tiles % row_tiles * kTile;
    const int64_t column = t % column_tiles * kTile, base = batch * rows * columns;
    for (int i = first; i < kTile; i += kThreads / kTile)
      if (row + i < rows && column + lane < columns)
        tile[i * (kTile + 1) + lane] = x[base + (row + i) * columns + column + lane];
    __syncthreads();  // the tile has been read
    for (int i = first; i < kTile; i += kThreads / kTile)
      if (column + i < columns && row + lane < rows)
        y[base + (column + i) * rows + row + lane] = tile[lane * (kTile + 1) + i];
    __syncthreads();  // the tile has been written out, the next may overwrite it
  }
}

// Vectors of V channels of 16-bit or 32-bit elements, moved without looking at them.
template <class T, int V>
struct Raw {
  T v;
};
template <class T>
struct Raw<T, 16 / sizeof(T)> {
  uint4 v;
};

struct Sampling {
  int64_t h, w, p, q, stride;
  int64_t c, k, before;  // in vectors
};

// A thread a vector of y.
template <class R>
__global__ void __launch_bounds__(kThreads) subsample(const R* x, R* y, Sampling s, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += step) {
    const int64_t c = i % s.k - s.before, pixel = i / s.k;
    R value = {};
    if (c >= 0 && c < s.c) {
      const int64_t q = pixel % s.q, p = pixel / s.q % s.p, n = pixel / (s.q * s.p);
      value = x[((n * s.h + p * s.stride) * s.w + q * s.stride) * s.c + c];
    }
    y[i] = value;
  }
}

// A thread a vector of dx.
template <class R>
__global__ void __launch_bounds__(kThreads) subsample_backward(const R* dy, R* dx, Sampling s, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += step) {
    const int64_t c = i % s.c, pixel = i / s.c;
    const int64_t column = pixel % s.w, row = pixel / s.w % s.h, n = pixel / (s.w * s.h);
    R value = {};
    if (column % s.stride == 0 && row % s.stride == 0)
      value = dy[((n * s.p + row / s.stride) * s.q + column / s.stride) * s.k + c + s.before];
    dx[i] = value;
  }
}

// `count` elements are written. `kernel` is called with a vector or an element as R.
template <class Kernel>
bool launch_sampling(const SubsampleShape& s, DataType type, const void* from, void* to, int64_t count,
                     const Kernel& launch) {
  if (s.n < 1 || s.h < 1 || s.w < 1 || s.c < 1 || s.stride < 1 || s.before < 0 || s.before + s.c > s.k || !from || !to)
    return false;
  return with_size(size_of(type), [&](auto stored) {
    using T = decltype(stored);
    constexpr int kWide = 16 / sizeof(T);
    const bool vectors = s.c % kWide == 0 && s.k % kWide == 0 && s.before % kWide == 0 && aligned16(from, to);
    const int64_t width = vectors ? kWide : 1;
    const Sampling sampling = {s.h, s.w, s.p(), s.q(), s.stride, s.c / width, s.k / width, s.before / width};
    return vectors ? launch(Raw<T, kWide>{}, sampling, count / width) : launch(Raw<T, 1>{}, sampling, count);
  });
}

}  // namespace

bool fill(const Fill& args, Stream stream) {
  if (args.count < 0 || (args.count > 0 && !args.y)) return false;
  if (args.count == 0) return true;
  return with_size(size_of(args.type), [&](auto stored) {
    using T = decltype(stored);
    const T value = bits_of<T>(args.type, args.value);
    uint64_t eight = 0;
    for (size_t i = 0; i < 8 / sizeof(T); ++i) eight |= static_cast<uint64_t>(value) << (8 * sizeof(T) * i);
    const uint32_t low = static_cast<uint32_t>(eight), high = static_cast<uint32_t>(eight >> 32);
    return gpu::launch(fill_elements<T>,
                       {.grid = blocks_for(args.count, kThreads * 16 / static_cast<int64_t>(sizeof(T))),
                        .block = kThreads,
                        .stream = stream},
                       static_cast<T*>(args.y), args.count, value, make_uint4(low, high, low, high));
  });
}
Cost fill_cost(const Fill& args) {
  return {.bytes = args.count * size_of(args.type), .flops = 0};
}

bool transpose(const Transpose& args, Stream stream) {
  if (args.batch < 0 || args.rows < 0 || args.columns < 0) return false;
  if (args.batch * args.rows * args.columns == 0) return true;
  if (!args.x || !args.y) return false;
  const int64_t row_tiles = (args.rows + kTile - 1) / kTile, column_tiles = (args.columns + kTile - 1) / kTile;
  const int64_t tiles = args.batch * row_tiles * column_tiles;
  return with_size(args.element_bytes, [&](auto stored) {
    using T = decltype(stored);
    return gpu::launch(transpose_tiles<T>, {.grid = blocks_for(tiles, 1), .block = kThreads, .stream = stream},
                       static_cast<const T*>(args.x), static_cast<T*>(args.y), args.rows, args.columns, row_tiles,
                       column_tiles, tiles);
  });
}
Cost transpose_cost(const Transpose& args) {
  return {.bytes = 2 * args.batch * args.rows * args.columns * args.element_bytes, .flops = 0};
}

bool subsample_pad(const SubsamplePad& args, Stream stream) {
  const SubsampleShape& s = args.shape;
  return launch_sampling(
      s, args.type, args.x, args.y, s.n * s.p() * s.q() * s.k, [&](auto raw, const Sampling& sampling, int64_t count) {
        using R = decltype(raw);
        return gpu::launch(subsample<R>, {.grid = blocks_for(count, kThreads), .block = kThreads, .stream = stream},
                           static_cast<const R*>(args.x), static_cast<R*>(args.y), sampling, count);
      });
}
Cost subsample_pad_cost(const SubsamplePad& args) {
  const SubsampleShape& s = args.shape;
  return {.bytes = s.n * s.p() * s.q() * (s.k + s.c) * size_of(args.type), .flops = 0};
}

bool subsample_pad_backward(const SubsamplePadBackward& args, Stream stream) {
  const SubsampleShape& s = args.shape;
  return launch_sampling(
      s, args.type, args.dy, args.dx, s.n * s.h * s.w * s.c, [&](auto raw, const Sampling& sampling, int64_t count) {
        using R = decltype(raw);
        return gpu::launch(subsample_backward<R>,
                           {.grid = blocks_for(count, kThreads), .block = kThreads, .stream = stream},
                           static_cast<const R*>(args.dy), static_cast<R*>(args.dx), sampling, count);
      });
}
Cost subsample_pad_backward_cost(const SubsamplePadBackward& args) {
  const SubsampleShape& s = args.shape;
  return {.bytes = (s.n * s.h * s.w + s.n * s.p() * s.q()) * s.c * size_of(args.type), .flops = 0};
}

}  // namespace engine::kernels
