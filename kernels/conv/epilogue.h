#pragma once
// Private to kernels. What happens to a finished tile of C: it lies staged in shared memory as f32, each thread
// takes kWidth consecutive columns of every kRowsPerPass-th row, and reads and writes global memory in 16-byte chunks.
#include "kernels/conv/multiply.h"

namespace engine::kernels::conv {

// Global rows of T, in whole chunks where `aligned` (all row starts are multiples of 16 bytes), else the first `count`
// elements one by one.
template <class T>
GPU_DEVICE void read_chunk(float (&values)[kVector<T>], const T* from, int count, bool aligned) {
  if (aligned) {
    const uint4 chunk = *reinterpret_cast<const uint4*>(from);
    const uint32_t words[4] = {chunk.x, chunk.y, chunk.z, chunk.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (sizeof(T) == 4) {
        values[i] = __uint_as_float(words[i]);
      } else {
        const float2 pair = gpu::unpack2<T>(words[i]);
        values[2 * i] = pair.x;
        values[2 * i + 1] = pair.y;
      }
    }
  } else {
#pragma unroll
    for (int e = 0; e < kVector<T>; ++e) values[e] = e < count ? gpu::to_float(from[e]) : 0.0f;
  }
}

// Rounds `values` to T, in place, too.
template <class T>
GPU_DEVICE void write_chunk(T* to, float (&values)[kVector<T>], int count, bool aligned) {
  Chunk<T> chunk;
#pragma unroll
  for (int e = 0; e < kVector<T>; ++e) {
    const T rounded = gpu::from_float<T>(values[e]);
    values[e] = gpu::to_float(rounded);
    chunk.set(e, rounded);
    if (!aligned && e < count) to[e] = rounded;
  }
  if (aligned) chunk.store(to);
}

// f32 values of `count` channels, `otherwise` where `from` is null.
template <int kCount>
GPU_DEVICE void read_channels(float (&values)[kCount], const float* from, int count, float otherwise) {
#pragma unroll
  for (int e = 0; e < kCount; ++e) values[e] = from != nullptr && e < count ? from[e] : otherwise;
}

// The part of a staged tile that one thread visits.
template <class Shape, int kWidth_>
struct StagedRows {
  static constexpr int kWidth = kWidth_;
  static constexpr int kChunks = Shape::kN / kWidth;
  static constexpr int kRowsPerPass = kThreads / kChunks;
  static_assert(kThreads % kChunks == 0 && Shape::kM % kRowsPerPass == 0);

  static GPU_DEVICE int column() { return static_cast<int>(threadIdx.x) % kChunks * kWidth; }
  static GPU_DEVICE int first_row() { return static_cast<int>(threadIdx.x) / kChunks; }

  static GPU_DEVICE void read(float (&values)[kWidth], const float* staged, int row) {
    const float* from = staged + row * Staged<Shape>::kStride + column();
#pragma unroll
    for (int e = 0; e < kWidth; e += 4) {
      const float4 v = *reinterpret_cast<const float4*>(from + e);
      values[e] = v.x;
      values[e + 1] = v.y;
      values[e + 2] = v.z;
      values[e + 3] = v.w;
    }
  }
  static GPU_DEVICE void write(float* staged, int row, const float (&values)[kWidth]) {
    float* to = staged + row * Staged<Shape>::kStride + column();
#pragma unroll
    for (int e = 0; e < kWidth; e += 4)
      *reinterpret_cast<float4*>(to + e) = make_float4(values[e], values[e + 1], values[e + 2], values[e + 3]);
  }
};

// Sums over the rows of a tile, channel by channel, in a fixed order.
template <class Rows, class Shape>
struct ColumnSums {
  static constexpr int kFloats = Rows::kRowsPerPass * Shape::kN;
  static_assert(Shape::kN <= kThreads);

  // Every thread hands in the sums of its rows; thread c gets the total of column c. `scratch` must not be in use; it
  // may be used again behind the next barrier.
  static GPU_DEVICE float total(float* scratch, const float (&sums)[Rows::kWidth]) {
#pragma unroll
    for (int e = 0; e < Rows::kWidth; ++e) scratch[Rows::first_row() * Shape::kN + Rows::column() + e] = sums[e];
    // All threads' sums are there.
    __syncthreads();
    float sum = 0;
    if (threadIdx.x < Shape::kN)
      for (int row = 0; row < Rows::kRowsPerPass; ++row) sum += scratch[row * Shape::kN + threadIdx.x];
    return sum;
  }
};

}  // namespace engine::kernels::conv
