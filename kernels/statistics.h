#pragma once
// How a kernel that writes a tensor [rows, C] hands over what a batch normalisation needs of it, without a second pass:
// per tile of rows and channel, two numbers. They are merged in the order of the tiles, so a result repeats bit by bit.
//
//   forward   partials [tiles][2][C] f32: the mean of the tile's values as stored (rounded), and
//             M2 = sum (v - mean)^2 over them. Tile t holds rows [t * rows_per_tile, (t + 1) * rows_per_tile) of the
//             tensor, the last one what is left; count(t) says how many.
//   backward  partials [tiles][2][C] f32: sum dz and sum dz * x_hat over the tile, dz as stored. Sums need no counts,
//             and which rows a tile holds is not part of the contract.
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace engine::kernels {

struct StatisticsTiles {
  int64_t rows = 0;           // of the tensor: N*P*Q
  int64_t rows_per_tile = 1;  // 0 for backward sums
  int64_t tiles = 0;
  int64_t count(int64_t tile) const { return std::min(rows_per_tile, rows - tile * rows_per_tile); }
  size_t floats(int64_t channels) const { return static_cast<size_t>(tiles * 2 * channels); }
};

}  // namespace engine::kernels
