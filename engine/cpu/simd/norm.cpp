// Batch normalisation and per-channel sums. See kernels.h.
#include <algorithm>

#include "engine/cpu/simd/fill.h"
#include "engine/cpu/simd/vec.h"

namespace engine::cpu::ENGINE_SIMD {
namespace {

// A column is taken in pieces that stay in the first-level cache between the pass for the mean and the pass for the
// deviations, and whose plain f32 sums are short.
constexpr int64_t kPiece = 256;

template <class T>
void column_statistics(const T* x, const Column& column, float* mean_out, float* m2_out) {
  const int lanes = column.lanes;
  const int64_t stride = column.stride;
  Vec mean = {}, m2 = {};
  for (int64_t begin = 0; begin < column.count; begin += kPiece) {
    const int64_t count = std::min(kPiece, column.count - begin);
    const T* p = x + begin * stride;
    Vec sum[4] = {};
    int64_t i = 0;
    for (; i + 4 <= count; i += 4)
      for (int k = 0; k < 4; ++k) sum[k] += load(p + (i + k) * stride, lanes);
    for (; i < count; ++i) sum[0] += load(p + i * stride, lanes);
    const Vec piece_mean = ((sum[0] + sum[1]) + (sum[2] + sum[3])) * (1.0f / static_cast<float>(count));
    Vec square[4] = {};
    for (i = 0; i + 4 <= count; i += 4)
      for (int k = 0; k < 4; ++k) {
        const Vec d = load(p + (i + k) * stride, lanes) - piece_mean;
        square[k] += d * d;
      }
    for (; i < count; ++i) {
      const Vec d = load(p + i * stride, lanes) - piece_mean;
      square[0] += d * d;
    }
    const Vec piece_m2 = (square[0] + square[1]) + (square[2] + square[3]);
    // Chan, Golub, LeVeque 1983: statistics of a union from those of its parts.
    const float before = static_cast<float>(begin), added = static_cast<float>(count), total = before + added;
    const Vec delta = piece_mean - mean;
    mean += delta * (added / total);
    m2 += piece_m2 + delta * delta * (before * added / total);
  }
  store(mean_out, mean);
  store(m2_out, m2);
}

template <class T>
void column_sum(const T* x, const Column& column, float* sum_out) {
  Vec total = {};
  for (int64_t begin = 0; begin < column.count; begin += kPiece) {
    const int64_t count = std::min(kPiece, column.count - begin);
    Vec sum = {};
    for (int64_t i = 0; i < count; ++i) sum += load(x + (begin + i) * column.stride, column.lanes);
    total += sum;
  }
  store(sum_out, total);
}

template <bool kResidual, bool kRelu, bool kFull, class T>
void normalise_column(const T* x, const T* residual, T* y, const Column& column, const Normalise& args) {
  const Vec mean = load(args.mean), scale = load(args.scale), shift = load(args.shift);
  const int lanes = kFull ? kLanes : column.lanes;
  for (int64_t i = 0; i < column.count; ++i) {
    const int64_t at = i * column.stride;
    Vec v = (load(x + at, lanes) - mean) * scale + shift;
    if constexpr (kResidual) v += load(residual + at, lanes);
    if constexpr (kRelu) v = relu(v);
    store(y + at, v, lanes);
  }
}

template <class T>
void normalise(const T* x, const T* residual, T* y, const Column& column, const Normalise& args) {
  const auto run = [&](auto full) {
    constexpr bool kFull = decltype(full)::value;
    if (residual && args.relu) return normalise_column<true, true, kFull>(x, residual, y, column, args);
    if (residual) return normalise_column<true, false, kFull>(x, residual, y, column, args);
    if (args.relu) return normalise_column<false, true, kFull>(x, residual, y, column, args);
    return normalise_column<false, false, kFull>(x, residual, y, column, args);
  };
  column.lanes == kLanes ? run(std::true_type()) : run(std::false_type());
}

template <bool kMask, bool kResidual, bool kFull, class T>
void reduce_column(const T* dy, const T* y, const T* x, T* dresidual, const Column& column, const float* mean_in,
                   float* sum_dy_out, float* sum_dy_x_out) {
  const Vec mean = load(mean_in);
  const int lanes = kFull ? kLanes : column.lanes;
  Vec total_dy = {}, total_dy_x = {};
  for (int64_t begin = 0; begin < column.count; begin += kPiece) {
    const int64_t end = std::min(column.count, begin + kPiece);
    Vec sum_dy[2] = {}, sum_dy_x[2] = {};
    const auto step = [&](int64_t i, int k) __attribute__((always_inline)) {
      const int64_t at = i * column.stride;
      Vec g = load(dy + at, lanes);
      if constexpr (kMask) g = load(y + at, lanes) > 0.0f ? g : Vec{};
      if constexpr (kResidual) store(dresidual + at, g, lanes);
      sum_dy[k] += g;
      sum_dy_x[k] += g * (load(x + at, lanes) - mean);
    };
    int64_t i = begin;
    for (; i + 2 <= end; i += 2) {
      step(i, 0);
      step(i + 1, 1);
    }
    if (i < end) step(i, 0);
    total_dy += sum_dy[0] + sum_dy[1];
    total_dy_x += sum_dy_x[0] + sum_dy_x[1];
  }
  store(sum_dy_out, total_dy);
  store(sum_dy_x_out, total_dy_x);
}

template <class T>
void normalise_reduce(const T* dy, const T* y, const T* x, T* dresidual, const Column& column, const float* mean,
                      float* sum_dy, float* sum_dy_x) {
  const auto run = [&](auto full) {
    constexpr bool kFull = decltype(full)::value;
    if (y && dresidual) return reduce_column<true, true, kFull>(dy, y, x, dresidual, column, mean, sum_dy, sum_dy_x);
    if (y) return reduce_column<true, false, kFull>(dy, y, x, dresidual, column, mean, sum_dy, sum_dy_x);
    if (dresidual) return reduce_column<false, true, kFull>(dy, y, x, dresidual, column, mean, sum_dy, sum_dy_x);
    return reduce_column<false, false, kFull>(dy, y, x, dresidual, column, mean, sum_dy, sum_dy_x);
  };
  column.lanes == kLanes ? run(std::true_type()) : run(std::false_type());
}

template <bool kMask, bool kFull, class T>
void backward_column(const T* dy, const T* y, const T* x, T* dx, const Column& column, const NormaliseBackward& args) {
  const Vec mean = load(args.mean), a = load(args.a), b = load(args.b), d = load(args.d);
  const int lanes = kFull ? kLanes : column.lanes;
  for (int64_t i = 0; i < column.count; ++i) {
    const int64_t at = i * column.stride;
    Vec g = load(dy + at, lanes);
    if constexpr (kMask) g = load(y + at, lanes) > 0.0f ? g : Vec{};
    store(dx + at, g * a + ((load(x + at, lanes) - mean) * b + d), lanes);
  }
}

template <class T>
void normalise_backward(const T* dy, const T* y, const T* x, T* dx, const Column& column,
                        const NormaliseBackward& args) {
  const bool full = column.lanes == kLanes;
  if (y && full) return backward_column<true, true>(dy, y, x, dx, column, args);
  if (y) return backward_column<true, false>(dy, y, x, dx, column, args);
  if (full) return backward_column<false, true>(dy, y, x, dx, column, args);
  backward_column<false, false>(dy, y, x, dx, column, args);
}

template <class T>
void fill(TypedKernels<T>& table) {
  table.column_statistics = column_statistics<T>;
  table.column_sum = column_sum<T>;
  table.normalise = normalise<T>;
  table.normalise_reduce = normalise_reduce<T>;
  table.normalise_backward = normalise_backward<T>;
}

}  // namespace

void fill_norm(Kernels& table) {
  fill(table.f32);
  fill(table.bf16);
}

}  // namespace engine::cpu::ENGINE_SIMD
