// Encoding tensors for TMA, with the driver's conditions.
#include <cstdint>

#include "kernels/emulator/tma.h"

namespace engine::kernels::gpu {
namespace {

constexpr int64_t kMaxDim = int64_t{1} << 32, kMaxStride = int64_t{1} << 40;
constexpr int kAlignment = 16, kMaxBox = 256, kMaxPixels = 1024, kMaxStep = 8;

bool aligned(const void* base) {
  return base != nullptr && reinterpret_cast<uintptr_t>(base) % kAlignment == 0;
}

bool in_signed_byte(int value) {
  return value >= -128 && value <= 127;
}

}  // namespace

bool make_tensor_map(TensorMap* map, const TiledTensor& tensor) {
  *map = {};
  if (!aligned(tensor.base) || tensor.rank < 1 || tensor.rank > 5) return false;
  map->rank = tensor.rank;
  map->element_bytes = static_cast<int>(size_of(tensor.type));
  map->swizzle = tensor.swizzle;
  map->base = static_cast<char*>(const_cast<void*>(tensor.base));
  for (int d = 0; d < tensor.rank; ++d) {
    const int64_t stride = d == 0 ? map->element_bytes : tensor.stride_bytes[d];
    if (tensor.dims[d] < 1 || tensor.dims[d] > kMaxDim || tensor.box[d] < 1 || tensor.box[d] > kMaxBox) return false;
    if (d > 0 && (stride < 1 || stride >= kMaxStride || stride % kAlignment != 0)) return false;
    map->dims[d] = tensor.dims[d];
    map->stride_bytes[d] = stride;
    map->box[d] = tensor.box[d];
  }
  return fills(tensor.swizzle, int64_t{tensor.box[0]} * map->element_bytes);
}

bool make_tensor_map(TensorMap* map, const Im2colTensor& tensor) {
  *map = {};
  const int64_t size = size_of(tensor.type), row = tensor.c * size;
  if (!aligned(tensor.base) || row % kAlignment != 0 || tensor.n < 1 || tensor.h < 1 || tensor.w < 1 || tensor.c < 1)
    return false;
  if (tensor.stride < 1 || tensor.stride > kMaxStep || tensor.channels < 1 || tensor.channels > kMaxBox ||
      tensor.pixels < 1 || tensor.pixels > kMaxPixels)
    return false;
  if (!in_signed_byte(tensor.lower_w) || !in_signed_byte(tensor.lower_h) || !in_signed_byte(tensor.upper_w) ||
      !in_signed_byte(tensor.upper_h))
    return false;
  if (tensor.w + tensor.upper_w <= tensor.lower_w || tensor.h + tensor.upper_h <= tensor.lower_h) return false;
  *map = {.im2col = true,
          .rank = 4,
          .element_bytes = static_cast<int>(size),
          .swizzle = tensor.swizzle,
          .base = static_cast<char*>(const_cast<void*>(tensor.base)),
          .dims = {tensor.c, tensor.w, tensor.h, tensor.n},
          .stride_bytes = {size, row, row * tensor.w, row * tensor.w * tensor.h},
          .box = {tensor.channels, tensor.pixels},
          .lower = {tensor.lower_w, tensor.lower_h},
          .upper = {tensor.upper_w, tensor.upper_h},
          .step = tensor.stride};
  return fills(tensor.swizzle, tensor.channels * size);
}

}  // namespace engine::kernels::gpu
