#include "bench/op_cost.h"

namespace engine::bench {
namespace {

double bytes(const Tensor& x) {
  return x.defined() ? static_cast<double>(x.bytes()) : 0;
}

struct ConvElements {
  double x, used_x, w, y;
};
ConvElements elements(const Conv2dShape& s) {
  const double y_pixels = static_cast<double>(s.n * s.p() * s.q());
  ConvElements count = {.x = static_cast<double>(s.n * s.h * s.w * s.c),
                        .used_x = 0,
                        .w = static_cast<double>(s.k * s.r * s.s * (s.c / s.groups)),
                        .y = y_pixels * static_cast<double>(s.k)};
  const bool skips = s.stride > 1 && s.r == 1 && s.s == 1;
  count.used_x = skips ? y_pixels * static_cast<double>(s.c) : count.x;
  return count;
}

}  // namespace

OpCost conv_cost(const Conv2dShape& shape, DType dtype, ConvPass pass) {
  const ConvElements count = elements(shape);
  const double size = static_cast<double>(size_of(dtype)), flops = 2 * static_cast<double>(shape.macs());
  switch (pass) {
    case ConvPass::forward:
      return {flops, (count.used_x + count.w) * size, count.y * size};
    case ConvPass::backward_data:
      return {flops, (count.y + count.w) * size, count.x * size};
    case ConvPass::backward_weights:
      return {flops, (count.used_x + count.y) * size, count.w * static_cast<double>(size_of(DType::f32))};
  }
  return {};
}

OpCost conv_inference_cost(const ConvInference& args) {
  OpCost cost = conv_cost(args.shape, args.x.dtype(), ConvPass::forward);
  cost.read += bytes(args.residual);
  return cost;
}

OpCost batch_norm_cost(const BatchNormForward& args) {
  return {.read = (args.training ? 2 : 1) * bytes(args.x) + bytes(args.residual), .written = bytes(args.y)};
}

OpCost batch_norm_cost(const BatchNormBackward& args) {
  // The second pass reads the gradient behind the ReLU if the first one wrote it, else it needs dy and y again.
  const double gradient = args.dresidual.defined() ? bytes(args.dresidual) : bytes(args.dy) + bytes(args.y);
  const double sums = args.training ? bytes(args.dy) + bytes(args.y) + bytes(args.x) : 0;
  return {.read = sums + gradient + bytes(args.x), .written = bytes(args.dx) + bytes(args.dresidual)};
}

OpCost conv_batch_norm_cost(const Conv2dShape& shape, const BatchNormForward& args) {
  const OpCost conv = conv_cost(shape, args.x.dtype(), ConvPass::forward);
  return {conv.flops, conv.read + bytes(args.x) + bytes(args.residual), conv.written + bytes(args.y)};
}

OpCost conv_batch_norm_join_cost(const ConvBatchNorm& main, const ConvBatchNorm& shortcut) {
  const OpCost first = conv_cost(main.shape, main.x.dtype(), ConvPass::forward),
               second = conv_cost(shortcut.shape, shortcut.x.dtype(), ConvPass::forward);
  return {first.flops + second.flops, first.read + second.read + bytes(main.norm.x) + bytes(shortcut.norm.x),
          first.written + second.written + bytes(main.norm.y)};
}

OpCost batch_norm_join_backward_cost(const BatchNormBackward& main, const BatchNormBackward& shortcut) {
  return {.read = 2 * (bytes(main.dy) + bytes(main.y) + bytes(main.x) + bytes(shortcut.x)),
          .written = bytes(main.dx) + bytes(shortcut.dx)};
}

OpCost batch_norm_pool_backward_cost(const BatchNormBackward& args, const Tensor& argmax) {
  const double pooled = bytes(args.dy) + bytes(args.y) + bytes(argmax);
  return {.read = 2 * pooled + bytes(args.dy) + bytes(args.x), .written = bytes(args.dx)};
}

OpCost linear_cost(const Tensor& x, const Tensor& w, const Tensor& y) {
  const double weights = static_cast<double>(w.numel()) * static_cast<double>(size_of(x.dtype()));
  return {2 * static_cast<double>(x.size(0) * w.numel()), bytes(x) + weights, bytes(y)};
}

OpCost linear_backward_cost(const Tensor& x, const Tensor& w, const Tensor& dy, const Tensor& dx, const Tensor& dw,
                            const Tensor& dbias) {
  const double product = 2 * static_cast<double>(x.size(0) * w.numel());
  const double weights = static_cast<double>(w.numel()) * static_cast<double>(size_of(x.dtype()));
  OpCost cost = {.read = bytes(dy), .written = bytes(dx) + bytes(dw) + bytes(dbias)};
  if (dx.defined()) cost.flops += product;
  if (dx.defined()) cost.read += weights;
  if (dw.defined()) cost.flops += product;
  if (dw.defined()) cost.read += bytes(x);
  return cost;
}

OpCost optimizer_cost(std::span<const OptimizerParameter> parameters) {
  OpCost cost;
  for (const OptimizerParameter& p : parameters) {
    cost.read += bytes(p.parameter) + bytes(p.grad) + bytes(p.momentum) + bytes(p.second_moment);
    cost.written += bytes(p.parameter) + bytes(p.momentum) + bytes(p.second_moment);
  }
  return cost;
}

OpCost pass_cost(std::initializer_list<const Tensor*> read, std::initializer_list<const Tensor*> written) {
  OpCost cost;
  for (const Tensor* x : read) cost.read += bytes(*x);
  for (const Tensor* y : written) cost.written += bytes(*y);
  return cost;
}

}  // namespace engine::bench
