// Matrix products of bf16 and f16 on tensor cores (mma.sync).
#include "kernels/linear_product.h"
#include "kernels/vector.h"

namespace engine::kernels {
namespace {

// A block of 4 warps makes 64x64 elements of d in steps of 32 of the inner index, a warp 32x32 of them. Three stages in
// shared memory: one is multiplied while the next two arrive.
constexpr int kTile = 64, kInner = 32, kStages = 3, kBlock = 128;

// A 64x32 tile of an operand. Rows are padded by 16 bytes: eight successive ones then lie in different banks.
template <bool kInnerFirst>
struct Tile {
  static constexpr int kRows = kInnerFirst ? kTile : kInner;     // kInnerFirst: rows along m or n, else along k
  static constexpr int kColumns = kInnerFirst ? kInner : kTile;  // contiguous
  static constexpr int kPitch = kColumns + 8;
  static constexpr int kElements = kRows * kPitch;
};

// Fetches rows [row0, +kRows) and columns [column0, +kColumns) of a matrix; outside of it there are zeros.
template <bool kInnerFirst, bool kVectors, class T>
GPU_DEVICE void fetch(T* tile, const T* matrix, int64_t rows, int64_t columns, int64_t row0, int64_t column0) {
  using Shape = Tile<kInnerFirst>;
  constexpr int kWidth = kVectors ? 8 : 1, kUnits = Shape::kRows * Shape::kColumns / kWidth;
  constexpr int kUnitsOfRow = Shape::kColumns / kWidth;
  for (int unit = static_cast<int>(threadIdx.x); unit < kUnits; unit += kBlock) {
    const int i = unit / kUnitsOfRow, j = unit % kUnitsOfRow * kWidth;
    const bool inside = row0 + i < rows && column0 + j < columns;
    const T* const from = inside ? matrix + (row0 + i) * columns + column0 + j : matrix;
    if constexpr (kVectors) {
      gpu::cp_async16(tile + i * Shape::kPitch + j, from, inside);
    } else {
      tile[i * Shape::kPitch + j] = inside ? *from : T{0};
    }
  }
}

template <class T, bool kAInnerFirst, bool kBInnerFirst, bool kVectors, class Out>
__global__ void __launch_bounds__(kBlock, 3)
    multiply(const T* a, const T* b, const float* bias, Out* d, int64_t m, int64_t n, int64_t k) {
  using ATile = Tile<kAInnerFirst>;
  using BTile = Tile<kBInnerFirst>;
  GPU_SHARED(T, shared, kStages * (ATile::kElements + BTile::kElements));
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_m = warp / 2 * 32, warp_n = warp % 2 * 32;
  const int64_t m0 = static_cast<int64_t>(blockIdx.y) * kTile, n0 = static_cast<int64_t>(blockIdx.x) * kTile;
  const int steps = static_cast<int>((k + kInner - 1) / kInner);

  const auto a_tile = [&](int stage) { return shared + stage * ATile::kElements; };
  const auto b_tile = [&](int stage) { return shared + kStages * ATile::kElements + stage * BTile::kElements; };
  const auto fetch_step = [&](int step) {
    if (step < steps) {
      const int64_t k0 = static_cast<int64_t>(step) * kInner;
      T* const to_a = a_tile(step % kStages);
      T* const to_b = b_tile(step % kStages);
      if constexpr (kAInnerFirst)
        fetch<true, kVectors>(to_a, a, m, k, m0, k0);
      else
        fetch<false, kVectors>(to_a, a, k, m, k0, m0);
      if constexpr (kBInnerFirst)
        fetch<true, kVectors>(to_b, b, n, k, n0, k0);
      else
        fetch<false, kVectors>(to_b, b, k, n, k0, n0);
    }
    gpu::cp_async_commit();  // also an empty group, so that the count below holds at the end
  };

  float sums[2][4][4] = {};
  for (int step = 0; step < kStages - 1; ++step) fetch_step(step);
  for (int step = 0; step < steps; ++step) {
    gpu::cp_async_wait<kStages - 2>();
    __syncthreads();  // every thread's part of this step has arrived; the stage of the step before is free
    fetch_step(step + kStages - 1);
    const T* const a_now = a_tile(step % kStages);
    const T* const b_now = b_tile(step % kStages);
#pragma unroll
    for (int k0 = 0; k0 < kInner; k0 += 16) {
      uint32_t a_part[2][4], b_part[4][2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int row = warp_m + 16 * i;
        if constexpr (kAInnerFirst)
          gpu::ldmatrix_x4(a_part[i], a_now + (row + lane % 16) * ATile::kPitch + k0 + lane / 16 * 8);
        else
          gpu::ldmatrix_x4_trans(a_part[i],
                                 a_now + (k0 + lane % 8 + lane / 16 * 8) * ATile::kPitch + row + lane / 8 % 2 * 8);
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int column = warp_n + 16 * j;
        uint32_t two[4];
        if constexpr (kBInnerFirst)
          gpu::ldmatrix_x4(two, b_now + (column + lane % 8 + lane / 16 * 8) * BTile::kPitch + k0 + lane / 8 % 2 * 8);
        else
          gpu::ldmatrix_x4_trans(two, b_now + (k0 + lane % 16) * BTile::kPitch + column + lane / 16 * 8);
        b_part[2 * j][0] = two[0], b_part[2 * j][1] = two[1];
        b_part[2 * j + 1][0] = two[2], b_part[2 * j + 1][1] = two[3];
      }
      gpu::mma_tile<T>(sums, a_part, b_part);
    }
  }
  // Element e of an m16n8 fragment: row lane/4 (+8 for e >= 2), column lane%4*2 (+1 for odd e).
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int64_t row = m0 + warp_m + 16 * i + lane / 4 + e / 2 * 8;
        const int64_t column = n0 + warp_n + 8 * j + lane % 4 * 2 + e % 2;
        if (row < m && column < n)
          d[row * n + column] = gpu::from_float<Out>(sums[i][j][e] + (bias ? bias[column] : 0.0f));
      }
}

template <class T, bool kAInnerFirst, bool kBInnerFirst, class Out>
bool launch(const Product& p, Stream stream) {
  const int64_t a_columns = kAInnerFirst ? p.k : p.m, b_columns = kBInnerFirst ? p.k : p.n;
  const bool vectors = a_columns % 8 == 0 && b_columns % 8 == 0 && aligned16(p.a, p.b);
  const int64_t rows = (p.m + kTile - 1) / kTile, columns = (p.n + kTile - 1) / kTile;
  if (rows > 65535 || columns > INT32_MAX) return false;
  return gpu::launch(
      vectors ? multiply<T, kAInnerFirst, kBInnerFirst, true, Out>
              : multiply<T, kAInnerFirst, kBInnerFirst, false, Out>,
      {.grid = {static_cast<unsigned>(columns), static_cast<unsigned>(rows)}, .block = kBlock, .stream = stream},
      static_cast<const T*>(p.a), static_cast<const T*>(p.b), p.bias, static_cast<Out*>(p.d), p.m, p.n, p.k);
}

template <class T>
bool product_of(const Product& p, Stream stream) {
  switch (p.form) {
    case Product::Form::forward:
      return launch<T, true, true, T>(p, stream);
    case Product::Form::backward_data:
      return launch<T, true, false, T>(p, stream);
    case Product::Form::backward_weights:
      break;
  }
  return launch<T, false, false, float>(p, stream);
}

}  // namespace

bool product_half(const Product& p, Stream stream) {
  return p.type == DataType::bf16 ? product_of<bf16>(p, stream) : product_of<f16>(p, stream);
}

}  // namespace engine::kernels
