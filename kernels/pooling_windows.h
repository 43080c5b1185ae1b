#pragma once
// Private to kernels: which pixels a window covers, and which windows cover a pixel. Device code, for .cu files only.
#include "kernels/pooling.h"
#include "kernels/vector.h"

namespace engine::kernels {

// 32 bits suffice for every position in an image and for the number of pixels, which makes the divisions cheap;
// offsets of elements are 64-bit.
struct Plane {
  int h, w, p, q, window, stride, padding;
};

inline bool valid(const Pool2dShape& s) {
  constexpr int64_t kMostPixels = INT32_MAX;
  return s.n >= 1 && s.h >= 1 && s.w >= 1 && s.c >= 1 && s.window >= 1 && s.stride >= 1 && s.padding >= 0 &&
         s.padding <= s.window / 2 && s.window <= s.h + 2 * s.padding && s.window <= s.w + 2 * s.padding &&
         s.window <= 4096 && s.h <= kMostPixels / s.w && s.n <= kMostPixels / (s.h * s.w) &&
         s.n <= kMostPixels / (s.p() * s.q());
}
inline Plane plane_of(const Pool2dShape& s) {
  return {static_cast<int>(s.h),      static_cast<int>(s.w),      static_cast<int>(s.p()),    static_cast<int>(s.q()),
          static_cast<int>(s.window), static_cast<int>(s.stride), static_cast<int>(s.padding)};
}

struct Position {
  int image, row, column;
};
GPU_DEVICE Position position_of(int pixel, int rows, int columns) {
  const int line = pixel / columns;
  return {line / rows, line % rows, pixel % columns};
}

struct Range {
  int begin, end;
};
// The rows (or columns) of the image inside window `i`.
GPU_DEVICE Range covered(int i, int size, const Plane& plane) {
  const int first = i * plane.stride - plane.padding;
  return {max(first, 0), min(first + plane.window, size)};
}
// The windows that hold row (or column) `i`; `count` of them exist.
GPU_DEVICE Range covering(int i, int count, const Plane& plane) {
  const int reach = i + plane.padding - plane.window;  // the last row that window w must start behind, if negative none
  return {reach < 0 ? 0 : reach / plane.stride + 1, min((i + plane.padding) / plane.stride + 1, count)};
}

// sum of dy over the windows whose argmax is pixel `at`, in ascending order. pass(element of dy) says what counts.
template <int V, class T, class Pass>
GPU_DEVICE Floats<V> unpool(const T* dy, const uint8_t* argmax, const Plane& plane, const Position& at,
                            int64_t channels, int64_t c, const Pass& pass) {
  const Range rows = covering(at.row, plane.p, plane), columns = covering(at.column, plane.q, plane);
  Floats<V> sum = {};
  for (int p = rows.begin; p < rows.end; ++p)
    for (int q = columns.begin; q < columns.end; ++q) {
      const int64_t element = ((static_cast<int64_t>(at.image) * plane.p + p) * plane.q + q) * channels + c;
      const int mine =
          (at.row - (p * plane.stride - plane.padding)) * plane.window + at.column - (q * plane.stride - plane.padding);
      const Bytes<V> winners = load_bytes<V>(argmax + element);
      const Floats<V> values = load<V>(dy + element), passes = pass(element);
#pragma unroll
      for (int j = 0; j < V; ++j) sum[j] += winners[j] == mine && passes[j] > 0 ? values[j] : 0.0f;
    }
  return sum;
}

// The maximum over a window of x, transformed. The first maximum wins, a NaN wins and stays.
template <int V, class T, class Transform>
GPU_DEVICE Floats<V> pool_maximum(const T* x, const Plane& plane, const Position& at, int64_t channels, int64_t c,
                                  int (&where)[V], const Transform& transform) {
  const Range rows = covered(at.row, plane.h, plane), columns = covered(at.column, plane.w, plane);
  const int row0 = at.row * plane.stride - plane.padding, column0 = at.column * plane.stride - plane.padding;
  Floats<V> best = {};
  bool started = false;
  for (int i = rows.begin; i < rows.end; ++i)
    for (int j = columns.begin; j < columns.end; ++j) {
      const int64_t pixel = (static_cast<int64_t>(at.image) * plane.h + i) * plane.w + j;
      const Floats<V> values = transform(load<V>(x + pixel * channels + c));
      const int position = (i - row0) * plane.window + j - column0;
#pragma unroll
      for (int k = 0; k < V; ++k) {
        const float v = values[k];
        const bool wins = !started || v > best[k] || (v != v && best[k] == best[k]);
        best[k] = wins ? v : best[k];
        where[k] = wins ? position : where[k];
      }
      started = true;
    }
  return best;
}

}  // namespace engine::kernels
