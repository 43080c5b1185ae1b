#include "engine/tensor.h"

#include <cstring>

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/error.h"
#include "engine/storage.h"

namespace engine {
namespace {

// Turns a private layout into nhwc inside the storage, so that every handle on it sees the same.
void make_row_major(const Tensor& x) {
  Storage& storage = x.storage();
  if (storage.layout() == Layout::nhwc) return;
  const Tensor plain = in_layout(x, Layout::nhwc);
  storage.swap_contents(plain.storage());
}

}  // namespace

Tensor Tensor::empty(const Shape& shape, TensorOptions options) {
  return make_tensor(shape, options.dtype, options.device);
}

Tensor Tensor::full(const Shape& shape, double value, TensorOptions options) {
  Tensor y = empty(shape, options);
  engine::backend(options.device).fill(y, value);
  return y;
}

Tensor Tensor::from_bytes(std::span<const std::byte> bytes, const Shape& shape, TensorOptions options) {
  Tensor y = empty(shape, options);
  check(bytes.size() == y.bytes(), "Tensor::from: ", bytes.size() / size_of(options.dtype), " values given, but shape ",
        shape, " holds ", shape.numel());
  engine::backend(options.device).upload(y.raw(), bytes.data(), bytes.size());
  return y;
}

const Shape& Tensor::shape() const {
  check(defined(), "Tensor::shape: the tensor is undefined");
  return body_->shape;
}

DType Tensor::dtype() const {
  check(defined(), "Tensor::dtype: the tensor is undefined");
  return body_->dtype;
}

Device Tensor::device() const {
  return storage().device();
}

Storage& Tensor::storage() const {
  check(defined(), "Tensor: the tensor is undefined; assign a result to it before use");
  return *body_->storage;
}

void* Tensor::raw_data() const {
  return storage().data();
}

const void* Tensor::row_major(const char* what, DType dtype, bool on_host) const {
  check(dtype == this->dtype(), what, ": asked for ", dtype, ", but the tensor ", shape(), " holds ", this->dtype());
  check(!on_host || device().type == DeviceType::cpu, what, ": the tensor is on ", device(),
        "; copy it to the host first with to(Device{})");
  make_row_major(*this);
  return raw();
}

void* Tensor::mutable_row_major(const char* what, DType dtype, bool on_host) {
  void* data = const_cast<void*>(row_major(what, dtype, on_host));
  storage().bump_version();
  return data;
}

double Tensor::item() const {
  check(numel() == 1, "Tensor::item: the tensor has shape ", shape(), ", expected one element");
  const Tensor host = to(Device{});
  switch (dtype()) {
    case DType::f32:
      return static_cast<double>(host.values<float>()[0]);
    case DType::bf16:
      return static_cast<double>(kernels::to_float(host.values<bf16>()[0]));
    case DType::f16:
      return static_cast<double>(kernels::to_float(host.values<f16>()[0]));
    case DType::u8:
      return host.values<uint8_t>()[0];
    case DType::i64:
      return static_cast<double>(host.values<int64_t>()[0]);
  }
  return 0;
}

Tensor Tensor::to(Device target) const {
  if (device() == target) return *this;
  make_row_major(*this);
  Tensor y = empty(shape(), {dtype(), target});
  if (device().type == DeviceType::cpu) {
    engine::backend(target).upload(y.raw(), raw(), bytes());
  } else if (target.type == DeviceType::cpu) {
    engine::backend(device()).download(y.raw(), raw(), bytes());
  } else {
    return to(Device{}).to(target);
  }
  return y;
}

Tensor Tensor::to(DType target) const {
  if (dtype() == target) return *this;
  Tensor y = make_tensor(shape(), target, device(), layout_of(*this));
  engine::backend(device()).convert(*this, y);
  if (!is_floating(dtype()) || !is_floating(target)) return y;
  const DType source = dtype();
  return record(y, {*this}, [source](const Tensor& dy) { return Tensors{dy.to(source)}; });
}

Tensor Tensor::clone() const {
  Tensor y = make_tensor(shape(), dtype(), device(), layout_of(*this));
  engine::backend(device()).convert(*this, y);
  return y;
}

Tensor Tensor::detach() const {
  if (!defined()) return {};
  auto body = std::make_shared<TensorBody>();
  body->storage = body_->storage;
  body->shape = body_->shape;
  body->dtype = body_->dtype;
  return Tensor(std::move(body));
}

Tensor Tensor::reshape(const Shape& target) const {
  check(target.numel() == numel(), "reshape: ", shape(), " has ", numel(), " elements, but ", target, " has ",
        target.numel());
  make_row_major(*this);
  auto body = std::make_shared<TensorBody>();
  body->storage = body_->storage;
  body->shape = target;
  body->dtype = body_->dtype;
  const Shape source = shape();
  return record(Tensor(std::move(body)), {*this}, [source](const Tensor& dy) { return Tensors{dy.reshape(source)}; });
}

void Tensor::copy_from(const Tensor& source) {
  check(source.shape() == shape(), "copy_from: the source has shape ", source.shape(), ", the target ", shape());
  const NoGrad no_grad;
  storage().bump_version();
  engine::backend(device()).convert(source.to(device()), *this);
}

bool Tensor::requires_grad() const {
  return defined() && (body_->requires_grad || body_->node);
}

Tensor& Tensor::set_requires_grad(bool value) {
  check(defined() && !body_->node,
        "set_requires_grad: only a leaf (a tensor not made by a recorded op) can be changed");
  check(!value || is_floating(dtype()), "set_requires_grad: a tensor of ", dtype(),
        " has no gradient, expected a float type");
  check(!value || !storage().read_only(), "set_requires_grad: whoever shares the memory of this tensor ", shape(),
        " allows no writing, so it cannot be trained; train a clone()");
  body_->requires_grad = value;
  return *this;
}

bool Tensor::is_leaf() const {
  return !defined() || !body_->node;
}

const Tensor& Tensor::grad() const {
  check(defined(), "Tensor::grad: the tensor is undefined");
  return body_->grad;
}

void Tensor::set_grad(Tensor grad) {
  check(!grad.defined() || grad.shape() == shape(), "set_grad: the gradient has shape ",
        grad.defined() ? grad.shape() : Shape{}, ", the tensor ", shape());
  body_->grad = std::move(grad);
}

bool Tensor::unique() const {
  return defined() && body_.use_count() == 1 && body_->storage.use_count() == 1 && !body_->storage->shared_outside();
}

}  // namespace engine
