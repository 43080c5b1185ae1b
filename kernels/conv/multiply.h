#pragma once
// Private to kernels. Multiplies a slice of A with one of B into the block's tile of C, held in registers as f32:
// tensor cores for bf16 and f16, and for f32 outer products or, rounded to TF32, tensor cores: as the tile is cut.
#include "kernels/conv/tile.h"

namespace engine::kernels::conv {

// The finished tile of C in shared memory. Rows are padded by 32 bytes: eight rows of a fragment, two columns a thread,
// lie in different banks.
template <class Shape>
struct Staged {
  static constexpr int kStride = Shape::kN + 8;
  static constexpr int kBytes = Shape::kM * kStride * static_cast<int>(sizeof(float));
};

// Whether a tile is cut for warps, which tensor cores multiply for, or for threads.
template <class Shape>
constexpr bool kOfWarps = Shape::kRows* Shape::kColumns * 32 == kThreads;

// bf16, f16, and f32 as TF32. A warp owns MT x NT tiles of 16 x 8.
template <class T, class Shape, class SliceA, class SliceB>
class Multiplier {
 public:
  GPU_DEVICE Multiplier() {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    first_row_ = warp / Shape::kColumns * (kRowTiles * 16);
    first_column_ = warp % Shape::kColumns * (kColumnTiles * 8);
  }

  GPU_DEVICE void multiply(const char* slice_a, const char* slice_b) {
#pragma unroll
    for (int step = 0; step < kDepth<T> / kInner; ++step) {
      uint32_t a[kRowTiles][4], b[kColumnTiles][2];
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) load_a(a[i], slice_a, first_row_ + i * 16, step);
#pragma unroll
      for (int j = 0; j < kColumnTiles; j += 2) load_b(b[j], b[j + 1], slice_b, first_column_ + j * 8, step);
      if constexpr (kTf32)
        gpu::mma_tile_tf32(sums_, a, b);
      else
        gpu::mma_tile<T>(sums_, a, b);
    }
  }

  GPU_DEVICE void store(float* staged) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int j = 0; j < kColumnTiles; ++j) {
        float* at =
            staged + (first_row_ + i * 16 + lane / 4) * Staged<Shape>::kStride + first_column_ + j * 8 + lane % 4 * 2;
        *reinterpret_cast<float2*>(at) = make_float2(sums_[i][j][0], sums_[i][j][1]);
        *reinterpret_cast<float2*>(at + 8 * Staged<Shape>::kStride) = make_float2(sums_[i][j][2], sums_[i][j][3]);
      }
  }

 private:
  static constexpr int kRowTiles = Shape::kM / Shape::kRows / 16;
  static constexpr int kColumnTiles = Shape::kN / Shape::kColumns / 8;
  static_assert(kOfWarps<Shape> && kColumnTiles % 2 == 0);
  static constexpr bool kTf32 = sizeof(T) == 4;
  static constexpr int kInner = kTf32 ? 8 : 16;  // k of one product

  // The element at k and M respectively N of a slice in which k is not contiguous.
  template <class Slice>
  static GPU_DEVICE uint32_t element(const char* slice, int k, int index) {
    return *reinterpret_cast<const uint32_t*>(slice + Slice::offset(k, index / 4) + index % 4 * 4);
  }
  template <int N>
  static GPU_DEVICE void round_tf32(uint32_t (&fragment)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) fragment[i] = gpu::round_tf32(__uint_as_float(fragment[i]));
  }

  // Lane i names row i % 8 of the 8x8 matrix i / 8; the fragment of A is (rows 0-7, k 0-7), (rows 8-15, k 0-7),
  // (rows 0-7, k 8-15), (rows 8-15, k 8-15). A float counts as two halves there: k 0-3 and 4-7.
  static GPU_DEVICE void load_a(uint32_t (&fragment)[4], const char* slice, int row, int step) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if constexpr (SliceA::kMajor == gpu::Major::k)
      gpu::ldmatrix_x4(fragment, slice + SliceA::offset(row + lane % 16, step * 2 + lane / 16));
    else if constexpr (kTf32)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        fragment[i] = element<SliceA>(slice, step * 8 + lane % 4 + i / 2 * 4, row + lane / 4 + i % 2 * 8);
    else
      gpu::ldmatrix_x4_trans(fragment,
                             slice + SliceA::offset(step * 16 + lane / 16 * 8 + lane % 8, row / 8 + lane / 8 % 2));
    if constexpr (kTf32) round_tf32(fragment);
  }

  // Two fragments of B: (columns 0-7, k 0-7), (columns 0-7, k 8-15), then columns 8-15.
  static GPU_DEVICE void load_b(uint32_t (&first)[2], uint32_t (&second)[2], const char* slice, int column, int step) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    uint32_t both[4];
    if constexpr (kTf32 && SliceB::kMajor != gpu::Major::k)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        both[i] = element<SliceB>(slice, step * 8 + lane % 4 + i % 2 * 4, column + lane / 4 + i / 2 * 8);
    else if constexpr (SliceB::kMajor == gpu::Major::k)
      gpu::ldmatrix_x4(both, slice + SliceB::offset(column + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
    else
      gpu::ldmatrix_x4_trans(both, slice + SliceB::offset(step * 16 + lane % 16, column / 8 + lane / 16));
    if constexpr (kTf32) round_tf32(both);
    first[0] = both[0];
    first[1] = both[1];
    second[0] = both[2];
    second[1] = both[3];
  }

  int first_row_, first_column_;
  float sums_[kRowTiles][kColumnTiles][4] = {};
};

// f32. Threads form a kRows x kColumns grid; a thread owns kHeight rows and kWidth columns.
template <class Shape, class SliceA, class SliceB>
requires(!kOfWarps<Shape>) class Multiplier<float, Shape, SliceA, SliceB> {
 public:
  GPU_DEVICE void multiply(const char* slice_a, const char* slice_b) {
    // Not unrolled: loads of later chunks would move up and push sums out of the registers.
#pragma unroll 1
    for (int chunk = 0; chunk < kDepth<float> / 4; ++chunk) {
      float a[4][kHeight], b[4][kWidth];
      load<SliceA, Shape::kRows>(a, slice_a, row_of_grid(), chunk);
      load<SliceB, Shape::kColumns>(b, slice_b, column_of_grid(), chunk);
#pragma unroll
      for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int i = 0; i < kHeight; ++i)
#pragma unroll
          for (int j = 0; j < kWidth; ++j) sums_[i][j] += a[k][i] * b[k][j];
    }
  }

  GPU_DEVICE void store(float* staged) const {
#pragma unroll
    for (int i = 0; i < kHeight; ++i)
#pragma unroll
      for (int j = 0; j < kWidth; ++j)
        staged[index<SliceA, Shape::kRows>(row_of_grid(), i) * Staged<Shape>::kStride +
               index<SliceB, Shape::kColumns>(column_of_grid(), j)] = sums_[i][j];
  }

 private:
  static constexpr int kHeight = Shape::kM / Shape::kRows;
  static constexpr int kWidth = Shape::kN / Shape::kColumns;
  static_assert(Shape::kRows * Shape::kColumns == kThreads);

  static GPU_DEVICE int row_of_grid() {
    return static_cast<int>(threadIdx.x) % Shape::kRows;
  }
  static GPU_DEVICE int column_of_grid() {
    return static_cast<int>(threadIdx.x) / Shape::kRows;
  }

  // A thread's i-th row or column. Where k is contiguous, neighbouring threads own neighbouring rows (see the
  // permutation of chunks); else each owns four in a row, a chunk.
  template <class Slice, int kGrid>
  static GPU_DEVICE int index(int thread, int i) {
    return Slice::kMajor == gpu::Major::k ? thread + i * kGrid : i / 4 * (kGrid * 4) + thread * 4 + i % 4;
  }

  // Values [k][i] of the chunk-th four of k.
  template <class Slice, int kGrid, int kCount>
  static GPU_DEVICE void load(float (&values)[4][kCount], const char* slice, int thread, int chunk) {
    if constexpr (Slice::kMajor == gpu::Major::k) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        const float4 v = *reinterpret_cast<const float4*>(slice + Slice::offset(thread + i * kGrid, chunk));
        values[0][i] = v.x;
        values[1][i] = v.y;
        values[2][i] = v.z;
        values[3][i] = v.w;
      }
    } else {
      static_assert(kCount % 4 == 0);
#pragma unroll
      for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int i = 0; i < kCount; i += 4) {
          const float4 v =
              *reinterpret_cast<const float4*>(slice + Slice::offset(chunk * 4 + k, i / 4 * kGrid + thread));
          values[k][i] = v.x;
          values[k][i + 1] = v.y;
          values[k][i + 2] = v.z;
          values[k][i + 3] = v.w;
        }
    }
  }

  float sums_[kHeight][kWidth] = {};
};

}  // namespace engine::kernels::conv
