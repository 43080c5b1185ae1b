#include "engine/ops/pool.h"

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/error.h"
#include "engine/ops/check.h"

namespace engine {

Shape check_pool(const char* op, const Shape& x, const Pool2dOptions& options) {
  check(options.window >= 1 && options.stride >= 1 && options.padding >= 0 && options.padding <= options.window / 2, op,
        ": window=", options.window, ", stride=", options.stride, ", padding=", options.padding,
        ", expected window and stride >= 1, 0 <= padding <= window/2");
  const int64_t h = x[1] + 2 * options.padding - options.window, w = x[2] + 2 * options.padding - options.window;
  check(h >= 0 && w >= 0, op, ": x ", x, " is smaller than the window ", options.window, "x", options.window,
        "; use a larger image");
  return {x[0], h / options.stride + 1, w / options.stride + 1, x[3]};
}

namespace {

Shape pooled_shape(const char* op, const Tensor& x, const Pool2dOptions& options) {
  check_image(op, x);
  return check_pool(op, x.shape(), options);
}

PoolShape pool_shape(const Pool2dOptions& options) {
  return {.window = options.window, .stride = options.stride, .padding = options.padding};
}

Tensor like_input(const Shape& shape, const Tensor& dy) {
  return make_activation(shape, dy.dtype(), dy.device());
}

}  // namespace

Tensor max_pool2d(const Tensor& x, Pool2dOptions options) {
  const Shape result = pooled_shape("max_pool2d", x, options);
  check(options.window <= 16, "max_pool2d: window=", options.window,
        ", expected at most 16 (positions are kept in one byte)");
  const PoolShape pool = pool_shape(options);
  Tensor y = make_tensor(result, x.dtype(), x.device(), layout_of(x));
  const Tensor argmax = needs_grad({x}) ? make_tensor(result, DType::u8, x.device(), layout_of(x)) : Tensor{};
  backend(x.device()).max_pool_forward(pool, x, y, argmax);
  return record(y, {x}, [pool, argmax, shape = x.shape(), layout = layout_of(x)](const Tensor& dy) {
    Tensor dx = make_tensor(shape, dy.dtype(), dy.device(), layout);
    backend(dy.device()).max_pool_backward(pool, in_layout(dy, layout), argmax, dx);
    return Tensors{dx};
  });
}

Tensor avg_pool2d(const Tensor& x, Pool2dOptions options) {
  const Shape result = pooled_shape("avg_pool2d", x, options);
  check(options.padding == 0, "avg_pool2d: padding=", options.padding, ", expected 0");
  const PoolShape pool = pool_shape(options);
  Tensor y = make_tensor(result, x.dtype(), x.device(), layout_of(x));
  backend(x.device()).avg_pool_forward(pool, x, y);
  return record(y, {x}, [pool, shape = x.shape(), layout = layout_of(x)](const Tensor& dy) {
    Tensor dx = make_tensor(shape, dy.dtype(), dy.device(), layout);
    backend(dy.device()).avg_pool_backward(pool, in_layout(dy, layout), dx);
    return Tensors{dx};
  });
}

Tensor global_avg_pool(const Tensor& x) {
  check_image("global_avg_pool", x);
  check(x.size(1) * x.size(2) > 0, "global_avg_pool: x ", x.shape(), " has no pixel");
  Tensor y = make_tensor({x.size(0), x.size(3)}, x.dtype(), x.device());
  backend(x.device()).global_avg_pool_forward(x, y);
  return record(y, {x}, [shape = x.shape()](const Tensor& dy) {
    Tensor dx = like_input(shape, dy);
    backend(dy.device()).global_avg_pool_backward(dy, dx);
    return Tensors{dx};
  });
}

Tensor subsample_pad(const Tensor& x, SubsamplePadOptions options) {
  check_image("subsample_pad", x);
  check(options.stride >= 1, "subsample_pad: stride=", options.stride, ", expected 1 or more");
  check(options.channels >= x.size(3), "subsample_pad: channels=", options.channels, ", expected at least those of x ",
        x.shape());
  const int64_t stride = options.stride, before = (options.channels - x.size(3)) / 2;
  const Shape result = {x.size(0), (x.size(1) + stride - 1) / stride, (x.size(2) + stride - 1) / stride,
                        options.channels};
  Tensor y = make_activation(result, x.dtype(), x.device());
  backend(x.device()).subsample_pad(x, stride, before, y);
  return record(y, {x}, [stride, before, shape = x.shape()](const Tensor& dy) {
    Tensor dx = like_input(shape, dy);
    backend(dy.device()).subsample_pad_backward(dy, stride, before, dx);
    return Tensors{dx};
  });
}

}  // namespace engine
