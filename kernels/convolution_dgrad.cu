// Launcher of the input's gradient; the kernel is in kernels/conv/dgrad.h.
#include "kernels/conv/dgrad.h"
#include "kernels/convolution.h"

namespace engine::kernels {

bool conv_dgrad(const ConvBackwardData& args, Stream stream) {
  if (!conv::supported(args.shape) || args.dy == nullptr || args.w == nullptr || args.dx == nullptr) return false;
  if ((args.bn_x == nullptr) != (args.partials == nullptr) || (args.bn_mean == nullptr) != (args.partials == nullptr))
    return false;
  for (const void* pointer : {args.dy, args.w, args.shortcut, args.mask, args.bn_x, static_cast<const void*>(args.dx)})
    if (!conv::aligned(pointer)) return false;
  const conv::Geometry g = conv::geometry(args.shape);
  const conv::BackwardDataParams params = {.g = g,
                                           .dy = args.dy,
                                           .w = args.w,
                                           .shortcut = args.shortcut,
                                           .mask = args.mask,
                                           .bn_x = args.bn_x,
                                           .bn_mean = args.bn_mean,
                                           .dx = args.dx,
                                           .partials = args.partials,
                                           .tf32 = args.tf32,
                                           .aligned_dx = conv::whole_chunks(g.group_c, args.type)};
  switch (args.type) {
    case DataType::f32:
      return conv::dispatch_dgrad<float>(params, args.type, stream);
    case DataType::bf16:
      return conv::dispatch_dgrad<bf16>(params, args.type, stream);
    case DataType::f16:
      return conv::dispatch_dgrad<f16>(params, args.type, stream);
  }
  return false;
}

Cost conv_dgrad_cost(const ConvBackwardData& args) {
  const Conv2dShape& s = args.shape;
  const int64_t dy = s.n * s.p() * s.q() * s.k, w = s.k * s.r * s.s * (s.c / s.groups), dx = s.n * s.h * s.w * s.c;
  int64_t tensors = 1;
  for (const void* optional : {args.shortcut, args.mask, args.bn_x}) tensors += optional != nullptr ? 1 : 0;
  return {.bytes = (dy + w + tensors * dx) * size_of(args.type), .flops = 2 * s.macs()};
}

RowParts conv_dgrad_parts(const Conv2dShape& shape, DataType type) {
  const conv::Geometry g = conv::geometry(shape);
  const int rows_per_tile = conv::choose_dgrad_tile(g, type).rows;
  return {.rows_per_part = rows_per_tile, .parts = conv::count_tiles(g, rows_per_tile)};
}

}  // namespace engine::kernels
