#include "engine/ops/conv.h"

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/error.h"
#include "engine/ops/check.h"

namespace engine {

Conv2dShape check_conv(const char* op, const Tensor& x, const Tensor& w, const Tensor& bias,
                       const Conv2dOptions& options) {
  check_image(op, x);
  check(w.defined() && w.shape().rank() == 4, op, ": w has shape ", w.defined() ? w.shape() : Shape{},
        ", expected [K,R,S,C/groups]");
  check(options.stride >= 1 && options.padding >= 0 && options.groups >= 1, op, ": stride=", options.stride,
        ", padding=", options.padding, ", groups=", options.groups, ", expected stride and groups >= 1, padding >= 0");
  check(x.size(3) % options.groups == 0 && w.size(0) % options.groups == 0, op, ": C=", x.size(3), " and K=", w.size(0),
        " must be multiples of groups=", options.groups);
  check(w.size(3) == x.size(3) / options.groups, op, ": x ", x.shape(), " has C=", x.size(3), ", but w ", w.shape(),
        " expects ", w.size(3) * options.groups);
  check_parameter(op, "w", w, w.shape(), x);
  if (bias.defined()) check_parameter(op, "bias", bias, {w.size(0)}, x);
  const Conv2dShape shape = {.n = x.size(0),
                             .h = x.size(1),
                             .w = x.size(2),
                             .c = x.size(3),
                             .k = w.size(0),
                             .r = w.size(1),
                             .s = w.size(2),
                             .stride = options.stride,
                             .padding = options.padding,
                             .groups = options.groups};
  check(shape.h + 2 * shape.padding >= shape.r && shape.w + 2 * shape.padding >= shape.s, op, ": x ", x.shape(),
        " with padding ", shape.padding, " is smaller than the filter ", w.shape());
  return shape;
}

ConvGradients conv_gradients(const Conv2dShape& shape, const Tensor& x, const Tensor& w, const Tensor& dy, bool want_dx,
                             bool want_dw, bool want_dbias) {
  ConvGradients gradients;
  Backend& device = backend(x.device());
  if (want_dw || want_dbias) {
    gradients.dw = make_tensor(w.shape(), DType::f32, x.device());
    if (want_dbias) gradients.dbias = make_tensor({shape.k}, DType::f32, x.device());
    device.conv_backward_weights(shape, x, dy, gradients.dw, gradients.dbias);
  }
  if (want_dx) {
    gradients.dx = make_tensor(x.shape(), x.dtype(), x.device(), layout_of(x));
    device.conv_backward_data(shape, dy, w, gradients.dx);
  }
  return gradients;
}

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, Conv2dOptions options) {
  const Conv2dShape shape = check_conv("conv2d", x, w, bias, options);
  Tensor y = make_activation({shape.n, shape.p(), shape.q(), shape.k}, x.dtype(), x.device());
  backend(x.device()).conv_forward(shape, x, w, bias, y);
  return record(y, {x, w, bias},
                [shape, x = x.detach(), w = w.detach(), want_dx = x.requires_grad(), want_dw = w.requires_grad(),
                 want_dbias = bias.requires_grad()](const Tensor& dy) {
                  auto [dx, dw, dbias] = conv_gradients(shape, x, w, dy, want_dx, want_dw, want_dbias);
                  return Tensors{dx, dw, dbias};
                });
}

}  // namespace engine
