#pragma once
// What the tensor memory accelerator (TMA) of sm_90 is told about a tensor. Dimension 0 is contiguous.
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels::gpu {

// How 16-byte chunks of a row of that many bytes are permuted in shared memory, so that neither rows nor columns
// of 16-byte chunks collide in a bank: chunk ^= (address / 128) % (bytes / 16).
enum class Swizzle : uint32_t { none, bytes32, bytes64, bytes128 };

// What both kinds of tensors below ask of the rows of a box.
inline bool fills(Swizzle swizzle, int64_t row_bytes) {
  if (swizzle == Swizzle::none) return row_bytes > 0 && row_bytes % 16 == 0;
  return row_bytes == int64_t{16} << static_cast<int>(swizzle);
}

// Which index of a matrix operand is contiguous in shared memory: K, or M (of A) respectively N (of B).
enum class Major { k, mn };

// Boxes of `box` elements at any coordinates; elements outside the tensor read as zero and are not written.
struct TiledTensor {
  DataType type = DataType::bf16;
  const void* base = nullptr;    // 16-byte aligned
  int rank = 0;                  // 1..5
  int64_t dims[5] = {};          // elements
  int64_t stride_bytes[5] = {};  // of dimensions 1..rank-1, multiples of 16; [0] is not read
  int box[5] = {};               // elements, at most 256; box[0] fills the swizzle's bytes
  Swizzle swizzle = Swizzle::none;
};

// Columns of `pixels` consecutive output positions of a convolution over x [N,H,W,C], `channels` of each. Output
// position (q, p, n) reads input pixel (lower_w + q * stride + offset_w, lower_h + p * stride + offset_h) of image n.
// Positions run over w from lower_w to W - 1 + upper_w, then h alike, then n; outside the image is zero.
struct Im2colTensor {
  DataType type = DataType::bf16;
  const void* base = nullptr;
  int64_t n = 0, h = 0, w = 0, c = 0;
  int lower_w = 0, lower_h = 0;  // -padding
  int upper_w = 0, upper_h = 0;  // padding - (S - 1), padding - (R - 1)
  int stride = 1;
  int channels = 0, pixels = 0;  // at most 256 and 1024; channels fill the swizzle's bytes
  Swizzle swizzle = Swizzle::none;
};

}  // namespace engine::kernels::gpu
