#pragma once
// An activation as blocks of 16 channels, the same for both layouts: what the loops over columns walk.
#include <algorithm>
#include <cstdint>

#include "engine/cpu/simd/kernels.h"
#include "engine/error.h"
#include "engine/storage.h"
#include "engine/tensor.h"

namespace engine::cpu {

struct ChannelView {
  int64_t images = 0, pixels = 0, channels = 0, blocks = 0;
  int64_t image_stride = 0, block_stride = 0, stride = 0;  // in elements; `stride` from pixel to pixel

  int lanes(int64_t block) const { return static_cast<int>(std::min<int64_t>(16, channels - block * 16)); }
  int64_t offset(int64_t image, int64_t block, int64_t pixel = 0) const {
    return image * image_stride + block * block_stride + pixel * stride;
  }
  Column column(int64_t block, int64_t count) const {
    return {.count = count, .stride = stride, .lanes = lanes(block)};
  }
};

// x is [N,H,W,C] or [N,C] (one pixel an image).
inline ChannelView channel_view(const Tensor& x) {
  const Shape& shape = x.shape();
  ChannelView view;
  view.images = shape[0];
  view.channels = shape[shape.rank() - 1];
  view.pixels = shape.rank() == 4 ? shape[1] * shape[2] : 1;
  view.blocks = (view.channels + 15) / 16;
  view.image_stride = view.pixels * view.channels;
  const bool blocked = layout_of(x) == Layout::blocked16;
  view.block_stride = blocked ? view.pixels * 16 : 16;
  view.stride = blocked ? 16 : view.channels;
  return view;
}

// Calls body(T{}) with the element type of an activation that takes part in arithmetic.
template <class Body>
void dispatch(const char* op, DType dtype, const Body& body) {
  switch (dtype) {
    case DType::f32:
      return body(float{});
    case DType::bf16:
      return body(bf16{});
    default:
      fail(ErrorKind::usage, op, ": ", dtype, " on the cpu, expected f32 or bf16; convert with to(DType::f32)");
  }
}

}  // namespace engine::cpu
