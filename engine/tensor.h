#pragma once
// Tensor: a cheap handle (one shared pointer) to a dense array on a device, with its place in the autograd tape.
//
// Images are [N,H,W,C] and filters [K,R,S,C], always: there are no strides. A backend may keep an activation in a
// private layout (engine/storage.h) until somebody asks for the data; shape and indices never change by that.
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "engine/device.h"
#include "engine/dtype.h"
#include "engine/shape.h"

namespace engine {

class Storage;
class Tensor;
struct TensorBody;
using Tensors = std::vector<Tensor>;

struct TensorOptions {
  DType dtype = DType::f32;
  Device device = {};
};

class Tensor {
 public:
  Tensor() = default;  // undefined: no shape, no data

  static Tensor empty(const Shape& shape, TensorOptions options = {});  // not initialised
  static Tensor full(const Shape& shape, double value, TensorOptions options = {});
  static Tensor zeros(const Shape& shape, TensorOptions options = {}) { return full(shape, 0.0, options); }
  static Tensor scalar(double value, TensorOptions options = {}) { return full({}, value, options); }

  // Copies `values` (row-major, NHWC); the number of values must equal shape.numel().
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, Device device = {}) {
    return from_bytes(std::as_bytes(values), shape, {dtype_of<T>, device});
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, Device device = {}) {
    return from(std::span<const T>(values), shape, device);
  }
  static Tensor from_bytes(std::span<const std::byte> bytes, const Shape& shape, TensorOptions options);

  bool defined() const { return body_ != nullptr; }
  const Shape& shape() const;
  int64_t size(int axis) const { return shape()[axis]; }
  int64_t numel() const { return shape().numel(); }
  DType dtype() const;
  Device device() const;
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype()); }

  // The elements of a CPU tensor in row-major order. T must be the tensor's dtype. The mutable form counts as a write.
  // Throws Error(usage) for a tensor on another device: use to(Device{}) first.
  template <class T>
  std::span<const T> values() const {
    return {static_cast<const T*>(row_major("Tensor::values", dtype_of<T>, true)), static_cast<size_t>(numel())};
  }
  template <class T>
  std::span<T> mutable_values() {
    return {static_cast<T*>(mutable_row_major("Tensor::mutable_values", dtype_of<T>, true)),
            static_cast<size_t>(numel())};
  }
  // Where the elements lie, in row-major order, in the memory of the tensor's device: for kernels of one's own
  // (engine/stream.h) and other libraries. T must be the tensor's dtype. The mutable form counts as a write.
  template <class T>
  const T* data() const {
    return static_cast<const T*>(row_major("Tensor::data", dtype_of<T>, false));
  }
  template <class T>
  T* mutable_data() {
    return static_cast<T*>(mutable_row_major("Tensor::mutable_data", dtype_of<T>, false));
  }
  // A copy of the elements from any device.
  template <class T>
  std::vector<T> to_vector() const {
    const Tensor host = to(Device{});
    const auto view = host.values<T>();
    return {view.begin(), view.end()};
  }
  // The value of a tensor with one element, converted to double.
  double item() const;

  Tensor to(Device device) const;  // itself if already there; otherwise a detached copy
  Tensor to(DType dtype)
      const;  // itself if already of that dtype; otherwise a rounded copy (differentiable between float dtypes)
  Tensor clone() const;   // a detached copy with its own storage
  Tensor detach() const;  // the same storage, outside the tape
  // The same elements under another shape with as many elements (differentiable). Shares the storage.
  Tensor reshape(const Shape& shape) const;
  // Overwrites the elements with those of `source` (same shape; dtype and device are converted). Counts as a write.
  void copy_from(const Tensor& source);

  // --- autograd (engine/autograd.h) ---
  bool requires_grad() const;
  Tensor& set_requires_grad(bool value);  // for leaves; returns *this
  bool is_leaf() const;
  const Tensor& grad() const;  // undefined until a backward pass has reached this leaf
  void set_grad(Tensor grad);
  void clear_grad() { set_grad({}); }
  // Accumulates d(this)/d(leaf) into the grad of every leaf that requires it, and frees the tape behind this tensor.
  // A non-scalar tensor needs its own gradient `dy`.
  void backward(Tensor dy = {}) const;

  // --- for ops and backends ---
  explicit Tensor(std::shared_ptr<TensorBody> body) : body_(std::move(body)) {}
  TensorBody* body() const { return body_.get(); }
  const std::shared_ptr<TensorBody>& shared_body() const { return body_; }
  Storage& storage() const;
  // The elements in whatever layout the storage has.
  template <class T = void>
  T* raw() const {
    return static_cast<T*>(raw_data());
  }
  // True if nobody else can see this storage, so that an op that owns the handle may write into it.
  bool unique() const;

 private:
  void* raw_data() const;
  const void* row_major(const char* what, DType dtype, bool on_host) const;
  void* mutable_row_major(const char* what, DType dtype, bool on_host);

  std::shared_ptr<TensorBody> body_;
};

}  // namespace engine
