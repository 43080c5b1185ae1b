#include "engine/storage.h"

#include <utility>

#include "engine/backend.h"
#include "engine/error.h"

namespace engine {

Storage::Storage(size_t bytes, Device device, Layout layout)
    : data_(backend(device).allocate(bytes)), bytes_(bytes), device_(device), layout_(layout) {}

Storage::Storage(void* data, size_t bytes, Device device, std::shared_ptr<void> owner, bool read_only)
    : data_(data),
      bytes_(bytes),
      device_(device),
      layout_(Layout::nhwc),
      read_only_(read_only),
      outsiders_(1),
      owner_(std::move(owner)) {}

Storage::~Storage() {
  if (!owner_) backend(device_).release(data_, bytes_);
}

void Storage::bump_version() {
  check(!read_only_, "Tensor: whoever shares this memory allows no writing; write to a clone()");
  ++version_;
}

void Storage::swap_contents(Storage& other) {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(layout_, other.layout_);
  std::swap(owner_, other.owner_);
}

Tensor make_tensor(const Shape& shape, DType dtype, Device device, Layout layout) {
  auto body = std::make_shared<TensorBody>();
  body->storage = std::make_shared<Storage>(static_cast<size_t>(shape.numel()) * size_of(dtype), device, layout);
  body->shape = shape;
  body->dtype = dtype;
  return Tensor(std::move(body));
}

Tensor make_activation(const Shape& shape, DType dtype, Device device) {
  return make_tensor(shape, dtype, device, backend(device).activation_layout(shape, dtype));
}

Layout layout_of(const Tensor& x) {
  return x.storage().layout();
}

Tensor in_layout(const Tensor& x, Layout layout) {
  if (layout_of(x) == layout) return x;
  Tensor y = make_tensor(x.shape(), x.dtype(), x.device(), layout);
  backend(x.device()).convert(x, y);
  return y;
}

}  // namespace engine
