// Launcher of the forward convolution; the kernel is in kernels/conv/fprop.h.
#include "kernels/conv/fprop.h"
#include "kernels/convolution.h"

namespace engine::kernels {

bool conv_fprop(const ConvForward& args, Stream stream) {
  if (!conv::supported(args.shape) || args.x == nullptr || args.w == nullptr || args.y == nullptr) return false;
  if ((args.scale == nullptr) != (args.shift == nullptr)) return false;
  if (!conv::aligned(args.x) || !conv::aligned(args.w) || !conv::aligned(args.y) || !conv::aligned(args.residual))
    return false;
  const conv::Geometry g = conv::geometry(args.shape);
  const conv::ForwardParams params = {.g = g,
                                      .x = args.x,
                                      .w = args.w,
                                      .bias = args.bias,
                                      .scale = args.scale,
                                      .shift = args.shift,
                                      .residual = args.residual,
                                      .y = args.y,
                                      .partials = args.partials,
                                      .tf32 = args.tf32,
                                      .relu = args.relu,
                                      .aligned_y = conv::whole_chunks(g.group_k, args.type)};
  switch (args.type) {
    case DataType::f32:
      return conv::dispatch_fprop<float>(params, args.type, stream);
    case DataType::bf16:
      return conv::dispatch_fprop<bf16>(params, args.type, stream);
    case DataType::f16:
      return conv::dispatch_fprop<f16>(params, args.type, stream);
  }
  return false;
}

Cost conv_fprop_cost(const ConvForward& args) {
  const Conv2dShape& s = args.shape;
  const int64_t x = s.n * s.h * s.w * s.c, w = s.k * s.r * s.s * (s.c / s.groups), y = s.n * s.p() * s.q() * s.k;
  return {.bytes = (x + w + y + (args.residual != nullptr ? y : 0)) * size_of(args.type), .flops = 2 * s.macs()};
}

RowParts conv_fprop_parts(const Conv2dShape& shape, DataType type) {
  const int rows_per_tile = conv::choose_fprop_tile(conv::geometry(shape), type).rows;
  const int64_t rows = shape.n * shape.p() * shape.q();
  return {.rows_per_part = rows_per_tile, .parts = (rows + rows_per_tile - 1) / rows_per_tile};
}

}  // namespace engine::kernels
