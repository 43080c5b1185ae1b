// The classifier: our kernels or cuBLASLt (plans.h). Parameters are f32 and are rounded to the activations' type on
// the way in.
#include "engine/cuda/backend.h"

namespace engine::cuda {
namespace {

constexpr size_t kWorkspace = size_t{32} << 20;  // what cuBLAS recommends for Hopper

kernels::LinearShape linear_shape(const Tensor& x, const Tensor& w) {
  return {.n = x.size(0), .c = x.size(1), .k = w.size(0)};
}

}  // namespace

bool CudaBackend::run_library(const char* op, kernels::LibraryMatmul product) {
  const Scratch workspace = scratch(kWorkspace);
  product.workspace = workspace.as();
  product.workspace_bytes = kWorkspace;
  const Status status = context_.module().libraries->cublaslt->multiply(product, stream());
  if (status.problem == Problem::unsupported) return false;
  context_.check(op, status);
  return true;
}

void CudaBackend::linear_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y) {
  const Range range(context_, "linear_forward");
  const kernels::LinearShape shape = linear_shape(x, w);
  const kernels::DataType type = data_type("linear", x);
  const void* matrix = in_type(w, x.dtype());
  const kernels::LibraryMatmul product = {.rows = shape.n,
                                          .columns = shape.k,
                                          .inner = shape.c,
                                          .type = type,
                                          .tf32 = tf32_of(type),
                                          .b_transposed = true,
                                          .a = x.raw(),
                                          .b = matrix,
                                          .bias = pointer_or_null(bias),
                                          .c = y.raw()};
  plans_.run(product, may_measure(), [&](bool library) {
    if (library) return run_library("linear", product);
    context_.check_launch(
        "linear",
        kernels().linear_forward(
            {.shape = shape, .type = type, .x = x.raw(), .w = matrix, .bias = pointer_or_null(bias), .y = y.raw()},
            stream()));
    return true;
  });
}

void CudaBackend::linear_backward(const Tensor& x, const Tensor& w, const Tensor& dy, const Tensor& dx,
                                  const Tensor& dw, const Tensor& dbias) {
  const Range range(context_, "linear_backward");
  const char* op = "linear_backward";
  const kernels::LinearShape shape = linear_shape(x, w);
  const kernels::DataType type = data_type(op, x);
  if (dx.defined()) {
    const void* matrix = in_type(w, x.dtype());
    const kernels::LibraryMatmul product = {.rows = shape.n,
                                            .columns = shape.c,
                                            .inner = shape.k,
                                            .type = type,
                                            .tf32 = tf32_of(type),
                                            .a = dy.raw(),
                                            .b = matrix,
                                            .c = dx.raw()};
    plans_.run(product, may_measure(), [&](bool library) {
      if (library) return run_library(op, product);
      context_.check_launch(op,
                            kernels().linear_backward_data(
                                {.shape = shape, .type = type, .dy = dy.raw(), .w = matrix, .dx = dx.raw()}, stream()));
      return true;
    });
  }
  if (dw.defined()) {
    const kernels::LibraryMatmul product = {.rows = shape.k,
                                            .columns = shape.c,
                                            .inner = shape.n,
                                            .type = type,
                                            .tf32 = tf32_of(type),
                                            .a_transposed = true,
                                            .f32_result = true,
                                            .a = dy.raw(),
                                            .b = x.raw(),
                                            .c = dw.raw()};
    plans_.run(product, may_measure(), [&](bool library) {
      if (library) return run_library(op, product);
      context_.check_launch(
          op, kernels().linear_backward_weights(
                  {.shape = shape, .type = type, .x = x.raw(), .dy = dy.raw(), .dw = dw.raw<float>()}, stream()));
      return true;
    });
  }
  if (dbias.defined()) {
    const Scratch workspace = scratch(kernels().column_sum_workspace(dy.size(0), dy.size(1)));
    context_.check_launch(op, kernels().column_sum({.type = type,
                                                    .rows = dy.size(0),
                                                    .channels = dy.size(1),
                                                    .x = dy.raw(),
                                                    .y = dbias.raw<float>(),
                                                    .workspace = workspace.as()},
                                                   stream()));
  }
}

}  // namespace engine::cuda
