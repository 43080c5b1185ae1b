#include "kernels/emulator/tma_box.h"

#include <algorithm>
#include <cstring>

namespace engine::kernels::emulator {
namespace {

constexpr unsigned kChunk = 16;  // what a swizzle moves as a whole

// Part of each row that lies inside the tensor, in bytes of the row.
struct Inside {
  unsigned first, end;
};

unsigned row_bytes(const TmaBox& box) {
  return static_cast<unsigned>(box.map.box[0] * box.map.element_bytes);
}

Inside inside_of_rows(const TmaBox& box) {
  const int64_t element = box.map.element_bytes, first = box.coordinates[0], bytes = row_bytes(box);
  const int64_t begin = std::clamp<int64_t>(-first * element, 0, bytes);
  const int64_t end = std::clamp<int64_t>((box.map.dims[0] - first) * element, begin, bytes);
  return {static_cast<unsigned>(begin), static_cast<unsigned>(end)};
}

// Calls f(offset of the row in the box, address of the row's first element) in the order of shared memory; a null
// address for a row outside of the tensor. The address itself may lie before the row's first element inside.
template <class F>
void for_each_tiled_row(const TmaBox& box, F&& f) {
  const gpu::TensorMap& map = box.map;
  int size[5] = {1, 1, 1, 1, 1};
  std::copy(map.box, map.box + map.rank, size);
  unsigned offset = 0;
  int i[5] = {};
  for (i[4] = 0; i[4] < size[4]; ++i[4])
    for (i[3] = 0; i[3] < size[3]; ++i[3])
      for (i[2] = 0; i[2] < size[2]; ++i[2])
        for (i[1] = 0; i[1] < size[1]; ++i[1]) {
          char* row = map.base + int64_t{box.coordinates[0]} * map.element_bytes;
          bool inside = true;
          for (int d = 1; d < map.rank; ++d) {
            const int64_t x = int64_t{box.coordinates[d]} + i[d];
            inside = inside && x >= 0 && x < map.dims[d];
            row += x * map.stride_bytes[d];
          }
          f(offset, inside ? row : nullptr);
          offset += row_bytes(box);
        }
}

template <class F>
void for_each_pixel(const TmaBox& box, F&& f) {
  const gpu::TensorMap& map = box.map;
  int64_t w = box.coordinates[1], h = box.coordinates[2], n = box.coordinates[3];
  for (int pixel = 0; pixel < map.box[1]; ++pixel) {
    const int64_t x = w + box.offset[0], y = h + box.offset[1];
    const bool inside = x >= 0 && x < map.dims[1] && y >= 0 && y < map.dims[2] && n >= 0 && n < map.dims[3];
    char* row = map.base + int64_t{box.coordinates[0]} * map.element_bytes + x * map.stride_bytes[1] +
                y * map.stride_bytes[2] + n * map.stride_bytes[3];
    f(static_cast<unsigned>(pixel) * row_bytes(box), inside ? row : nullptr);
    w += map.step;
    if (w < map.dims[1] + map.upper[0]) continue;
    w = map.lower[0];
    h += map.step;
    if (h < map.dims[2] + map.upper[1]) continue;
    h = map.lower[1];
    ++n;
  }
}

template <class F>
void for_each_row(const TmaBox& box, F&& f) {
  if (box.map.im2col) {
    for_each_pixel(box, f);
  } else {
    for_each_tiled_row(box, f);
  }
}

unsigned swizzled_address(const gpu::TensorMap& map, unsigned address) {
  const unsigned mask = (1u << static_cast<unsigned>(map.swizzle)) - 1;
  return address ^ (((address >> 7) & mask) * kChunk);
}

}  // namespace

unsigned bytes_of(const gpu::TensorMap& map) {
  unsigned bytes = static_cast<unsigned>(map.element_bytes);
  for (int d = 0; d < (map.im2col ? 2 : map.rank); ++d) bytes *= static_cast<unsigned>(map.box[d]);
  return bytes;
}

bool is_position(const TmaBox& box) {
  const gpu::TensorMap& map = box.map;
  for (int i = 0; i < 2; ++i) {
    const int64_t x = box.coordinates[1 + i] - map.lower[i];
    if (x < 0 || x % map.step != 0 || box.coordinates[1 + i] >= map.dims[1 + i] + map.upper[i]) return false;
    if (box.offset[i] < 0 || box.offset[i] > 255) return false;
  }
  return true;
}

void load_box(const TmaBox& box, char* window) {
  const Inside inside = inside_of_rows(box);
  for_each_row(box, [&](unsigned offset, const char* row) {
    for (unsigned begin = 0; begin < row_bytes(box); begin += kChunk) {
      char* chunk = window + swizzled_address(box.map, box.shared + offset + begin);
      const unsigned first = std::max(begin, inside.first), end = std::min(begin + kChunk, inside.end);
      if (row == nullptr || first >= end) {
        std::memset(chunk, 0, kChunk);
        continue;
      }
      if (end - first < kChunk) std::memset(chunk, 0, kChunk);
      std::memcpy(chunk + (first - begin), row + first, end - first);
    }
  });
}

void store_box(const TmaBox& box, const char* window) {
  const Inside inside = inside_of_rows(box);
  for_each_row(box, [&](unsigned offset, char* row) {
    if (row == nullptr) return;
    for (unsigned begin = 0; begin < row_bytes(box); begin += kChunk) {
      const char* chunk = window + swizzled_address(box.map, box.shared + offset + begin);
      const unsigned first = std::max(begin, inside.first), end = std::min(begin + kChunk, inside.end);
      if (first < end) std::memcpy(row + first, chunk + (first - begin), end - first);
    }
  });
}

void access_global(Thread& thread, const TmaBox& box, race::Access kind) {
  if constexpr (race::kEnabled) {
    const Inside inside = inside_of_rows(box);
    if (inside.first >= inside.end) return;
    for_each_row(box, [&](unsigned, const char* row) {
      if (row != nullptr) race::access(thread, row + inside.first, inside.end - inside.first, kind, box.site);
    });
  }
}

}  // namespace engine::kernels::emulator
