#include "engine/ops/linear.h"

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/error.h"
#include "engine/ops/check.h"

namespace engine {

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
  check(x.defined() && x.shape().rank() == 2 && is_floating(x.dtype()), "linear: x has shape ",
        x.defined() ? x.shape() : Shape{}, ", expected [N,C] of a float type");
  check(w.defined() && w.shape().rank() == 2, "linear: w has shape ", w.defined() ? w.shape() : Shape{},
        ", expected [K,C]");
  check(w.size(1) == x.size(1), "linear: x ", x.shape(), " has C=", x.size(1), ", but w ", w.shape(), " expects ",
        w.size(1));
  check_parameter("linear", "w", w, w.shape(), x);
  if (bias.defined()) check_parameter("linear", "bias", bias, {w.size(0)}, x);

  Tensor y = make_tensor({x.size(0), w.size(0)}, x.dtype(), x.device());
  backend(x.device()).linear_forward(x, w, bias, y);
  return record(y, {x, w, bias},
                [x = x.detach(), w = w.detach(), want_dx = x.requires_grad(), want_dw = w.requires_grad(),
                 want_dbias = bias.requires_grad()](const Tensor& dy) {
                  const auto wanted = [&](bool want, const Shape& shape, DType dtype) {
                    return want ? make_tensor(shape, dtype, dy.device()) : Tensor{};
                  };
                  const Tensor dx = wanted(want_dx, x.shape(), x.dtype());
                  const Tensor dw = wanted(want_dw, w.shape(), DType::f32);
                  const Tensor dbias = wanted(want_dbias, {w.size(0)}, DType::f32);
                  backend(dy.device()).linear_backward(x, w, dy, dx, dw, dbias);
                  return Tensors{dx, dw, dbias};
                });
}

}  // namespace engine
