// Elementwise operations, changes of type, and what an image or a shortcut without parameters goes through.
#include "engine/cuda/backend.h"
#include "engine/ops/images.h"
#include "kernels/images.h"

namespace engine::cuda {
namespace {

kernels::ElementType element_type(const Tensor& x) {
  switch (x.dtype()) {
    case DType::f32:
      return kernels::ElementType::f32;
    case DType::bf16:
      return kernels::ElementType::bf16;
    case DType::f16:
      return kernels::ElementType::f16;
    case DType::u8:
      return kernels::ElementType::u8;
    case DType::i64:
      return kernels::ElementType::i64;
  }
  return kernels::ElementType::f32;
}

kernels::UnaryOp kernel_op(UnaryOp op) {
  switch (op) {
    case UnaryOp::relu:
      return kernels::UnaryOp::relu;
    case UnaryOp::sigmoid:
      return kernels::UnaryOp::sigmoid;
    case UnaryOp::exp:
      return kernels::UnaryOp::exp;
    case UnaryOp::log:
      return kernels::UnaryOp::log;
    case UnaryOp::negate:
      return kernels::UnaryOp::negate;
  }
  return kernels::UnaryOp::relu;
}

kernels::BinaryOp kernel_op(BinaryOp op) {
  switch (op) {
    case BinaryOp::add:
      return kernels::BinaryOp::add;
    case BinaryOp::subtract:
      return kernels::BinaryOp::subtract;
    case BinaryOp::multiply:
      return kernels::BinaryOp::multiply;
    case BinaryOp::divide:
      return kernels::BinaryOp::divide;
  }
  return kernels::BinaryOp::add;
}

// `big` is the tensor before the shortcut, `small` the one behind it.
kernels::SubsampleShape subsample_shape(const Tensor& big, const Tensor& small, int64_t stride, int64_t before) {
  return {.n = big.size(0),
          .h = big.size(1),
          .w = big.size(2),
          .c = big.size(3),
          .k = small.size(3),
          .stride = stride,
          .before = before};
}

}  // namespace

void CudaBackend::convert(const Tensor& x, const Tensor& y) {
  if (x.numel() == 0) return;
  context_.check_launch(
      "convert",
      kernels().convert(
          {.x = x.raw(), .x_type = element_type(x), .y = y.raw(), .y_type = element_type(y), .count = x.numel()},
          stream()));
}

void CudaBackend::fill(const Tensor& y, double value) {
  if (y.numel() == 0) return;
  context_.check_launch(
      "fill", kernels().fill({.y = y.raw(), .type = element_type(y), .count = y.numel(), .value = value}, stream()));
}

void CudaBackend::unary(UnaryOp op, const Tensor& x, const Tensor& y) {
  if (x.numel() == 0) return;
  context_.check_launch(
      "elementwise",
      kernels().unary(
          {.op = kernel_op(op), .type = data_type("elementwise", x), .count = x.numel(), .x = x.raw(), .y = y.raw()},
          stream()));
}

void CudaBackend::binary(BinaryOp op, const Tensor& a, const Tensor& b, const Tensor& y) {
  if (a.numel() == 0) return;
  context_.check_launch("elementwise", kernels().binary({.op = kernel_op(op),
                                                         .type = data_type("elementwise", a),
                                                         .count = a.numel(),
                                                         .b_count = b.numel(),
                                                         .a = a.raw(),
                                                         .b = b.raw(),
                                                         .y = y.raw()},
                                                        stream()));
}

void CudaBackend::affine(const Tensor& x, float scale, float shift, const Tensor& y) {
  if (x.numel() == 0) return;
  context_.check_launch("affine", kernels().affine({.type = data_type("affine", x),
                                                    .count = x.numel(),
                                                    .x = x.raw(),
                                                    .scale = scale,
                                                    .shift = shift,
                                                    .y = y.raw()},
                                                   stream()));
}

void CudaBackend::sum(const Tensor& x, const Tensor& y) {
  if (x.numel() == 0) return fill(y, 0);
  const Scratch workspace = scratch(kernels().sum_workspace(x.numel()));
  context_.check_launch("sum", kernels().sum({.type = data_type("sum", x),
                                              .count = x.numel(),
                                              .x = x.raw(),
                                              .y = y.raw<float>(),
                                              .workspace = workspace.as()},
                                             stream()));
}

void CudaBackend::add_relu(const Tensor& a, const Tensor& b, const Tensor& y) {
  const Range range(context_, "add_relu");
  if (a.numel() == 0) return;
  context_.check_launch(
      "add_relu",
      kernels().add_relu(
          {.type = data_type("add_relu", a), .count = a.numel(), .a = a.raw(), .b = b.raw(), .y = y.raw()}, stream()));
}

void CudaBackend::relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) {
  const Range range(context_, "relu_backward");
  if (y.numel() == 0) return;
  context_.check_launch(
      "relu_backward",
      kernels().relu_backward(
          {.type = data_type("relu_backward", y), .count = y.numel(), .dy = dy.raw(), .y = y.raw(), .dx = dx.raw()},
          stream()));
}

void CudaBackend::normalize_images(const Tensor& x, std::span<const float> mean, std::span<const float> std,
                                   const ImageChoices& choices, const Tensor& y) {
  const Range range(context_, "normalize_images");
  if (y.numel() == 0) return;
  const kernels::NormalizeImages args = {.n = y.size(0),
                                         .h = x.size(1),
                                         .w = x.size(2),
                                         .c = x.size(3),
                                         .p = y.size(1),
                                         .q = y.size(2),
                                         .type = data_type("normalize_images", y),
                                         .x = x.raw<uint8_t>(),
                                         .indices = pointer_or_null<int64_t>(choices.indices),
                                         .offsets = pointer_or_null<int64_t>(choices.offsets),
                                         .flips = pointer_or_null<uint8_t>(choices.flips),
                                         .erased = pointer_or_null<int64_t>(choices.erased),
                                         .mix = pointer_or_null<kernels::ImageMix>(choices.mix),
                                         .mean = mean.data(),
                                         .std = std.data(),
                                         .y = y.raw()};
  context_.check_launch("normalize_images", kernels().normalize_images(args, stream()));
}

void CudaBackend::mixed_targets(const Tensor& labels, const Tensor& mix, const Tensor& targets) {
  const Range range(context_, "mixed_targets");
  context_.check_launch("mixed_targets", kernels().mixed_targets({.n = targets.size(0),
                                                                  .k = targets.size(1),
                                                                  .labels = labels.raw<int64_t>(),
                                                                  .mix = mix.raw<kernels::ImageMix>(),
                                                                  .y = targets.raw<float>()},
                                                                 stream()));
}

void CudaBackend::subsample_pad(const Tensor& x, int64_t stride, int64_t before, const Tensor& y) {
  const Range range(context_, "subsample_pad");
  context_.check_launch("subsample_pad", kernels().subsample_pad({.shape = subsample_shape(x, y, stride, before),
                                                                  .type = data_type("subsample_pad", x),
                                                                  .x = x.raw(),
                                                                  .y = y.raw()},
                                                                 stream()));
}

void CudaBackend::subsample_pad_backward(const Tensor& dy, int64_t stride, int64_t before, const Tensor& dx) {
  const Range range(context_, "subsample_pad_backward");
  context_.check_launch("subsample_pad_backward",
                        kernels().subsample_pad_backward({.shape = subsample_shape(dx, dy, stride, before),
                                                          .type = data_type("subsample_pad_backward", dx),
                                                          .dy = dy.raw(),
                                                          .dx = dx.raw()},
                                                         stream()));
}

}  // namespace engine::cuda
