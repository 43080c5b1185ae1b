// Pooling, and moving columns between tensors. See kernels.h.
#include <algorithm>
#include <type_traits>
#include <vector>

#include "engine/cpu/simd/fill.h"
#include "engine/cpu/simd/vec.h"

namespace engine::cpu::ENGINE_SIMD {
namespace {

struct Range {
  int64_t begin, end;
};

// Input indices that output index `p` covers, inside [0, size).
Range covered(int64_t p, int64_t size, const PoolPlane& plane) {
  const int64_t first = p * plane.stride - plane.padding;
  return {std::max<int64_t>(first, 0), std::min(first + plane.window, size)};
}

// Output indices, inside [0, size), that cover input index `i`.
Range covering(int64_t i, int64_t size, const PoolPlane& plane) {
  const int64_t reach = i + plane.padding;
  const int64_t first = reach < plane.window ? 0 : (reach - plane.window) / plane.stride + 1;
  return {first, std::min(reach / plane.stride + 1, size)};
}

// A division for each pixel would cost more than the pixel.
std::vector<Range> covering_each(int64_t count, int64_t size, const PoolPlane& plane) {
  std::vector<Range> ranges;
  ranges.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) ranges.push_back(covering(i, size, plane));
  return ranges;
}

// Calls body(lanes) with a constant where it is all of them, so that moving them is one instruction and no call.
template <class Body>
ENGINE_VEC_INLINE void with_lanes(int lanes, const Body& body) {
  if (lanes == kLanes) return body(std::integral_constant<int, kLanes>{});
  body(lanes);
}

// In two steps of one instruction each: GCC 12 takes a conversion by four apart into its elements.
ENGINE_VEC_INLINE void store_bytes(uint8_t* p, IntVec values, int lanes) {
  const ByteVec bytes = __builtin_convertvector(__builtin_convertvector(values, ShortVec), ByteVec);
  std::memcpy(p, &bytes, static_cast<size_t>(lanes));
}
ENGINE_VEC_INLINE IntVec load_bytes(const uint8_t* p, int lanes) {
  ByteVec bytes = {};
  std::memcpy(&bytes, p, static_cast<size_t>(lanes));
  return __builtin_convertvector(__builtin_convertvector(bytes, ShortVec), IntVec);
}

template <class T, class Lanes>
ENGINE_VEC_INLINE void max_pool_lanes(const T* x, T* y, uint8_t* argmax, const PoolPlane& plane, int64_t stride,
                                      Lanes lanes) {
  for (int64_t p = 0; p < plane.p; ++p) {
    const Range rows = covered(p, plane.h, plane);
    for (int64_t q = 0; q < plane.q; ++q) {
      const Range columns = covered(q, plane.w, plane);
      const int64_t row0 = p * plane.stride - plane.padding, column0 = q * plane.stride - plane.padding;
      Vec best = load(x + (rows.begin * plane.w + columns.begin) * stride, lanes);
      IntVec where = IntVec{} + static_cast<int>((rows.begin - row0) * plane.window + columns.begin - column0);
      for (int64_t i = rows.begin; i < rows.end; ++i)
        for (int64_t j = columns.begin; j < columns.end; ++j) {
          const Vec v = load(x + (i * plane.w + j) * stride, lanes);
          // A NaN wins and stays: it must reach the loss.
          const IntVec wins = (v > best) | ((v != v) & (best == best));
          best = wins ? v : best;
          where = wins ? IntVec{} + static_cast<int>((i - row0) * plane.window + j - column0) : where;
        }
      const int64_t at = (p * plane.q + q) * stride;
      store(y + at, best, lanes);
      if (argmax) store_bytes(argmax + at, where, lanes);
    }
  }
}

template <class T>
void max_pool(const T* x, T* y, uint8_t* argmax, const PoolPlane& plane, int64_t stride, int lanes) {
  with_lanes(lanes, [&](auto count) { max_pool_lanes(x, y, argmax, plane, stride, count); });
}

// Gathers: each input pixel asks the windows that cover it. No order of writes, sums in f32.
template <class T, class Lanes>
ENGINE_VEC_INLINE void max_pool_backward_lanes(const T* dy, const uint8_t* argmax, T* dx, const PoolPlane& plane,
                                               int64_t stride, Lanes lanes) {
  const std::vector<Range> columns_of = covering_each(plane.w, plane.q, plane);
  for (int64_t i = 0; i < plane.h; ++i) {
    const Range rows = covering(i, plane.p, plane);
    for (int64_t j = 0; j < plane.w; ++j) {
      const Range columns = columns_of[static_cast<size_t>(j)];
      Vec sum = {};
      for (int64_t p = rows.begin; p < rows.end; ++p)
        for (int64_t q = columns.begin; q < columns.end; ++q) {
          const int64_t at = (p * plane.q + q) * stride;
          const int position = static_cast<int>((i - (p * plane.stride - plane.padding)) * plane.window + j -
                                                (q * plane.stride - plane.padding));
          sum += load_bytes(argmax + at, lanes) == position ? load(dy + at, lanes) : Vec{};
        }
      store(dx + (i * plane.w + j) * stride, sum, lanes);
    }
  }
}

template <class T>
void max_pool_backward(const T* dy, const uint8_t* argmax, T* dx, const PoolPlane& plane, int64_t stride, int lanes) {
  with_lanes(lanes, [&](auto count) { max_pool_backward_lanes(dy, argmax, dx, plane, stride, count); });
}

template <class T>
void avg_pool(const T* x, T* y, const PoolPlane& plane, int64_t stride, int lanes) {
  const float scale = 1.0f / static_cast<float>(plane.window * plane.window);
  for (int64_t p = 0; p < plane.p; ++p)
    for (int64_t q = 0; q < plane.q; ++q) {
      Vec sum = {};
      for (int64_t i = 0; i < plane.window; ++i)
        for (int64_t j = 0; j < plane.window; ++j)
          sum += load(x + ((p * plane.stride + i) * plane.w + q * plane.stride + j) * stride, lanes);
      store(y + (p * plane.q + q) * stride, sum * scale, lanes);
    }
}

template <class T>
void avg_pool_backward(const T* dy, T* dx, const PoolPlane& plane, int64_t stride, int lanes) {
  const float scale = 1.0f / static_cast<float>(plane.window * plane.window);
  for (int64_t i = 0; i < plane.h; ++i) {
    const Range rows = covering(i, plane.p, plane);
    for (int64_t j = 0; j < plane.w; ++j) {
      const Range columns = covering(j, plane.q, plane);
      Vec sum = {};
      for (int64_t p = rows.begin; p < rows.end; ++p)
        for (int64_t q = columns.begin; q < columns.end; ++q) sum += load(dy + (p * plane.q + q) * stride, lanes);
      store(dx + (i * plane.w + j) * stride, sum * scale, lanes);
    }
  }
}

template <class T>
void fill_column(const float* values, T* y, const Column& column) {
  const Vec v = load(values);
  for (int64_t i = 0; i < column.count; ++i) store(y + i * column.stride, v, column.lanes);
}

template <class T>
void copy_column(const T* x, int64_t x_stride, T* y, const Column& column) {
  for (int64_t i = 0; i < column.count; ++i)
    std::memcpy(y + i * column.stride, x + i * x_stride, static_cast<size_t>(column.lanes) * sizeof(T));
}

template <class T>
void fill(TypedKernels<T>& table) {
  table.max_pool = max_pool<T>;
  table.max_pool_backward = max_pool_backward<T>;
  table.avg_pool = avg_pool<T>;
  table.avg_pool_backward = avg_pool_backward<T>;
  table.fill_column = fill_column<T>;
  table.copy_column = copy_column<T>;
}

}  // namespace

void fill_pool(Kernels& table) {
  fill(table.f32);
  fill(table.bf16);
}

}  // namespace engine::cpu::ENGINE_SIMD
