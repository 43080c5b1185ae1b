#include "engine/ops/elementwise.h"

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/error.h"

namespace engine {
namespace {

Tensor like(const Tensor& x) {
  return make_tensor(x.shape(), x.dtype(), x.device(), layout_of(x));
}

void check_float(const char* op, const Tensor& x) {
  check(is_floating(x.dtype()), op, ": the operand ", x.shape(), " holds ", x.dtype(), ", expected a float type");
}

Tensor apply(UnaryOp op, const Tensor& x) {
  Tensor y = like(x);
  backend(x.device()).unary(op, x, y);
  return y;
}

// a op b without recording; b has the shape of a or one element.
Tensor apply(BinaryOp op, const Tensor& a, const Tensor& b) {
  Tensor y = like(a);
  backend(a.device()).binary(op, a, b.numel() == 1 ? b : in_layout(b, layout_of(a)), y);
  return y;
}

Tensor affine(const Tensor& x, float scale, float shift) {
  check_float("affine", x);
  Tensor y = like(x);
  backend(x.device()).affine(x, scale, shift, y);
  return record(y, {x}, [scale](const Tensor& dy) { return Tensors{affine(dy, scale, 0)}; });
}

void check_operands(const char* op, const Tensor& a, const Tensor& b) {
  check_float(op, a);
  check(a.dtype() == b.dtype(), op, ": the operands hold ", a.dtype(), " and ", b.dtype(),
        ", expected one dtype; convert with to()");
  check(a.device() == b.device(), op, ": the operands are on ", a.device(), " and ", b.device(),
        ", expected one device");
  check(a.shape() == b.shape() || b.numel() == 1, op, ": the shapes ", a.shape(), " and ", b.shape(),
        " differ, expected equal shapes or one element on the right");
}

// The gradient of b from that of its broadcast over a.
Tensor unbroadcast(const Tensor& db, const Shape& shape) {
  if (db.shape() == shape) return db;
  return sum(db).to(db.dtype()).reshape(shape);
}

}  // namespace

Tensor operator+(const Tensor& a, const Tensor& b) {
  check_operands("add", a, b);
  return record(apply(BinaryOp::add, a, b), {a, b}, [shape = b.shape()](const Tensor& dy) {
    return Tensors{dy, unbroadcast(dy, shape)};
  });
}

Tensor operator-(const Tensor& a, const Tensor& b) {
  check_operands("subtract", a, b);
  return record(apply(BinaryOp::subtract, a, b), {a, b}, [shape = b.shape()](const Tensor& dy) {
    return Tensors{dy, unbroadcast(-dy, shape)};
  });
}

Tensor operator*(const Tensor& a, const Tensor& b) {
  check_operands("multiply", a, b);
  return record(apply(BinaryOp::multiply, a, b), {a, b}, [a = a.detach(), b = b.detach()](const Tensor& dy) {
    return Tensors{dy * b, unbroadcast(dy * a, b.shape())};
  });
}

Tensor operator/(const Tensor& a, const Tensor& b) {
  check_operands("divide", a, b);
  Tensor y = apply(BinaryOp::divide, a, b);
  return record(y, {a, b}, [y, b = b.detach()](const Tensor& dy) {
    const Tensor da = dy / b;
    return Tensors{da, unbroadcast(-(da * y), b.shape())};
  });
}

Tensor operator-(const Tensor& x) {
  return affine(x, -1, 0);
}
Tensor operator+(const Tensor& x, float shift) {
  return affine(x, 1, shift);
}
Tensor operator+(float shift, const Tensor& x) {
  return affine(x, 1, shift);
}
Tensor operator-(const Tensor& x, float shift) {
  return affine(x, 1, -shift);
}
Tensor operator-(float minuend, const Tensor& x) {
  return affine(x, -1, minuend);
}
Tensor operator*(const Tensor& x, float scale) {
  return affine(x, scale, 0);
}
Tensor operator*(float scale, const Tensor& x) {
  return affine(x, scale, 0);
}
Tensor operator/(const Tensor& x, float divisor) {
  return affine(x, 1 / divisor, 0);
}

Tensor relu(const Tensor& x) {
  check_float("relu", x);
  Tensor y = apply(UnaryOp::relu, x);
  return record(y, {x}, [y](Tensor dy) {
    dy = in_layout(dy, layout_of(y));
    Tensor dx = dy.unique() ? dy : like(y);
    backend(y.device()).relu_backward(dy, y, dx);
    return Tensors{dx};
  });
}

Tensor sigmoid(const Tensor& x) {
  check_float("sigmoid", x);
  Tensor y = apply(UnaryOp::sigmoid, x);
  return record(y, {x}, [y](const Tensor& dy) { return Tensors{dy * (y * (1 - y))}; });
}

Tensor exp(const Tensor& x) {
  check_float("exp", x);
  Tensor y = apply(UnaryOp::exp, x);
  return record(y, {x}, [y](const Tensor& dy) { return Tensors{dy * y}; });
}

Tensor log(const Tensor& x) {
  check_float("log", x);
  return record(apply(UnaryOp::log, x), {x}, [x = x.detach()](const Tensor& dy) { return Tensors{dy / x}; });
}

Tensor sum(const Tensor& x) {
  check_float("sum", x);
  Tensor y = make_tensor({}, DType::f32, x.device());
  backend(x.device()).sum(x, y);
  return record(y, {x}, [shape = x.shape(), dtype = x.dtype()](const Tensor& dy) {
    return Tensors{Tensor::full(shape, dy.item(), {dtype, dy.device()})};
  });
}

Tensor mean(const Tensor& x) {
  return sum(x) / static_cast<float>(x.numel());
}

Tensor add_relu(const Tensor& a, const Tensor& b) {
  check_operands("add_relu", a, b);
  check(a.shape() == b.shape(), "add_relu: the shapes ", a.shape(), " and ", b.shape(),
        " differ, expected equal shapes");
  Tensor y = like(a);
  backend(a.device()).add_relu(a, in_layout(b, layout_of(a)), y);
  return record(y, {a, b}, [y](Tensor dy) {
    dy = in_layout(dy, layout_of(y));
    Tensor dx = dy.unique() ? dy : like(y);
    backend(y.device()).relu_backward(dy, y, dx);
    return Tensors{dx, dx};
  });
}

}  // namespace engine
