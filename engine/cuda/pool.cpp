#include "engine/cuda/backend.h"

namespace engine::cuda {
namespace {

int64_t pixels_of(const Tensor& x) {
  return x.size(1) * x.size(2);
}

}  // namespace

void CudaBackend::max_pool_forward(const PoolShape& pool, const Tensor& x, const Tensor& y, const Tensor& argmax) {
  const Range range(context_, "max_pool_forward");
  context_.check_launch("max_pool2d", kernels().max_pool_forward({.shape = pool_shape(pool, x),
                                                                  .type = data_type("max_pool2d", x),
                                                                  .x = x.raw(),
                                                                  .y = y.raw(),
                                                                  .argmax = pointer_or_null<uint8_t>(argmax)},
                                                                 stream()));
}

void CudaBackend::max_pool_backward(const PoolShape& pool, const Tensor& dy, const Tensor& argmax, const Tensor& dx) {
  const Range range(context_, "max_pool_backward");
  context_.check_launch("max_pool2d_backward",
                        kernels().max_pool_backward({.shape = pool_shape(pool, dx),
                                                     .type = data_type("max_pool2d_backward", dx),
                                                     .dy = dy.raw(),
                                                     .argmax = argmax.raw<uint8_t>(),
                                                     .dx = dx.raw()},
                                                    stream()));
}

void CudaBackend::avg_pool_forward(const PoolShape& pool, const Tensor& x, const Tensor& y) {
  const Range range(context_, "avg_pool_forward");
  context_.check_launch(
      "avg_pool2d",
      kernels().avg_pool_forward(
          {.shape = pool_shape(pool, x), .type = data_type("avg_pool2d", x), .x = x.raw(), .y = y.raw()}, stream()));
}

void CudaBackend::avg_pool_backward(const PoolShape& pool, const Tensor& dy, const Tensor& dx) {
  const Range range(context_, "avg_pool_backward");
  context_.check_launch(
      "avg_pool2d_backward",
      kernels().avg_pool_backward(
          {.shape = pool_shape(pool, dx), .type = data_type("avg_pool2d_backward", dx), .dy = dy.raw(), .dx = dx.raw()},
          stream()));
}

void CudaBackend::global_avg_pool_forward(const Tensor& x, const Tensor& y) {
  const Range range(context_, "global_avg_pool_forward");
  context_.check_launch("global_avg_pool", kernels().global_avg_pool_forward({.n = x.size(0),
                                                                              .pixels = pixels_of(x),
                                                                              .c = x.size(3),
                                                                              .type = data_type("global_avg_pool", x),
                                                                              .x = x.raw(),
                                                                              .y = y.raw()},
                                                                             stream()));
}

void CudaBackend::global_avg_pool_backward(const Tensor& dy, const Tensor& dx) {
  const Range range(context_, "global_avg_pool_backward");
  context_.check_launch("global_avg_pool_backward",
                        kernels().global_avg_pool_backward({.n = dx.size(0),
                                                            .pixels = pixels_of(dx),
                                                            .c = dx.size(3),
                                                            .type = data_type("global_avg_pool_backward", dx),
                                                            .dy = dy.raw(),
                                                            .dx = dx.raw()},
                                                           stream()));
}

}  // namespace engine::cuda
