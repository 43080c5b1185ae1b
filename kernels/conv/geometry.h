#pragma once
// Private to kernels. What host and device share: a shape in 32 bits, and which tile a convolution is cut into.
#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "kernels/conv/tile.h"
#include "kernels/types.h"

namespace engine::kernels::conv {

// Conv2dShape in 32 bits, with the sizes of one group.
struct Geometry {
  int n, h, w, c, k, r, s, stride, padding, groups, p, q;
  int group_c, group_k;
};

inline Geometry geometry(const Conv2dShape& shape) {
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  return {narrow(shape.n),
          narrow(shape.h),
          narrow(shape.w),
          narrow(shape.c),
          narrow(shape.k),
          narrow(shape.r),
          narrow(shape.s),
          narrow(shape.stride),
          narrow(shape.padding),
          narrow(shape.groups),
          narrow(shape.p()),
          narrow(shape.q()),
          narrow(shape.c / shape.groups),
          narrow(shape.k / shape.groups)};
}

// Every size and every product of sizes that a kernel computes in 32 bits fits, with room for a tile.
inline bool supported(const Conv2dShape& shape) {
  constexpr int64_t kLimit = (int64_t{1} << 31) - 1024;
  for (const int64_t size : {shape.n, shape.h, shape.w, shape.c, shape.k, shape.r, shape.s, shape.stride, shape.groups})
    if (size < 1 || size >= kLimit) return false;
  if (shape.padding < 0 || shape.padding >= (1 << 24) || shape.r >= (1 << 24) || shape.s >= (1 << 24)) return false;
  if (shape.c % shape.groups != 0 || shape.k % shape.groups != 0 || shape.groups > 65535) return false;
  if (shape.h + 2 * shape.padding < shape.r || shape.w + 2 * shape.padding < shape.s) return false;
  const auto product_fits = [](std::initializer_list<int64_t> sizes) {
    int64_t product = 1;
    for (const int64_t size : sizes) {
      product *= size;
      if (product >= kLimit) return false;
    }
    return true;
  };
  return product_fits({shape.n, shape.h, shape.w}) && product_fits({shape.n, shape.p(), shape.q()}) &&
         product_fits({shape.r, shape.s, shape.c}) && product_fits({shape.r, shape.s, shape.k});
}

inline bool aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

inline bool whole_chunks(int channels, DataType type) {
  return channels * size_of(type) % 16 == 0;
}

// Enough blocks for every multiprocessor of an H100 (132), fixed so that results do not depend on the device.
constexpr int64_t kWantedBlocks = 132;

// The tile of fprop and dgrad for C[rows, columns] in each of `groups`: the largest that the columns fill and that
// still leaves kWantedBlocks blocks. Element-wise sources and f32 have 128 rows always.
struct TileChoice {
  int rows, columns;
};
inline TileChoice choose_tile(int64_t rows, int columns, int groups, DataType type, bool element_wise) {
  if (columns <= 32) return {128, 32};
  if (type == DataType::f32 || element_wise) return {128, 64};
  const auto blocks = [&](int64_t tile_rows, int64_t tile_columns) {
    return (rows + tile_rows - 1) / tile_rows * ((columns + tile_columns - 1) / tile_columns) * groups;
  };
  if (columns > 64 && blocks(128, 128) >= kWantedBlocks) return {128, 128};
  if (blocks(128, 64) >= kWantedBlocks) return {128, 64};
  return {64, 64};
}

}  // namespace engine::kernels::conv
