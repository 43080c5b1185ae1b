// The classifier. Parameters are f32 and are rounded to the activations' type on the way in.
#include "engine/cuda/backend.h"

namespace engine::cuda {
namespace {

kernels::LinearShape linear_shape(const Tensor& x, const Tensor& w) {
  return {.n = x.size(0), .c = x.size(1), .k = w.size(0)};
}

}  // namespace

void CudaBackend::linear_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y) {
  context_.check_launch("linear", kernels().linear_forward({.shape = linear_shape(x, w),
                                                            .type = data_type("linear", x),
                                                            .x = x.raw(),
                                                            .w = in_type(w, x.dtype()),
                                                            .bias = pointer_or_null(bias),
                                                            .y = y.raw()},
                                                           stream()));
}

void CudaBackend::linear_backward(const Tensor& x, const Tensor& w, const Tensor& dy, const Tensor& dx,
                                  const Tensor& dw, const Tensor& dbias) {
  const kernels::DataType type = data_type("linear_backward", x);
  if (dx.defined())
    context_.check_launch(
        "linear_backward",
        kernels().linear_backward_data(
            {.shape = linear_shape(x, w), .type = type, .dy = dy.raw(), .w = in_type(w, x.dtype()), .dx = dx.raw()},
            stream()));
  if (dw.defined())
    context_.check_launch(
        "linear_backward",
        kernels().linear_backward_weights(
            {.shape = linear_shape(x, w), .type = type, .x = x.raw(), .dy = dy.raw(), .dw = dw.raw<float>()},
            stream()));
  if (dbias.defined()) {
    const Scratch workspace = scratch(kernels().column_sum_workspace(dy.size(0), dy.size(1)));
    context_.check_launch("linear_backward", kernels().column_sum({.type = type,
                                                                   .rows = dy.size(0),
                                                                   .channels = dy.size(1),
                                                                   .x = dy.raw(),
                                                                   .y = dbias.raw<float>(),
                                                                   .workspace = workspace.as()},
                                                                  stream()));
  }
}

}  // namespace engine::cuda
