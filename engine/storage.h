#pragma once
// Storage: the reference-counted bytes behind tensors, and what only backends need to know about them.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/device.h"
#include "engine/dtype.h"
#include "engine/shape.h"
#include "engine/tensor.h"

namespace engine {

// How the elements of a 4-d activation [N,H,W,C] lie in memory.
enum class Layout : uint8_t {
  nhwc,       // row-major, the only layout that users see
  blocked16,  // [N, C/16, H, W, 16], C % 16 == 0: what the CPU's convolutions like best; private to backends
};

class Storage {
 public:
  Storage(size_t bytes, Device device, Layout layout = Layout::nhwc);
  // Row-major bytes that belong to somebody outside (engine/dlpack.h), valid until `owner` is let go.
  Storage(void* data, size_t bytes, Device device, std::shared_ptr<void> owner, bool read_only);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  Layout layout() const { return layout_; }
  // Takes over the other's bytes and layout (used to turn a private layout into nhwc in place).
  void swap_contents(Storage& other);

  // Counts writes after creation: caches of derived data compare it. While somebody outside sees the bytes nobody
  // counts his writes, so every question has another answer.
  uint64_t version() const { return shared_outside() ? ++version_ : version_.load(std::memory_order_relaxed); }
  // Throws Error(usage) if the bytes may not be written: call it before the write.
  void bump_version();

  // Whether programs beside the engine read or write the bytes now: from share_outside() to as many unshare_outside(),
  // which any thread may call.
  bool shared_outside() const { return outsiders_.load(std::memory_order_relaxed) > 0; }
  void share_outside() { ++outsiders_; }
  void unshare_outside() { --outsiders_; }
  bool read_only() const { return read_only_; }

  // Something that a backend derived from the contents (say, filters in a primitive's own layout), valid while
  // `derived_version == version()`. Owned by the backend that set it.
  std::shared_ptr<void> derived;
  uint64_t derived_version = 0;

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Device device_;
  Layout layout_;
  bool read_only_ = false;
  std::atomic<int> outsiders_ = 0;
  mutable std::atomic<uint64_t> version_ = 0;
  std::shared_ptr<void> owner_;  // null: the backend's memory
};

struct Node;

struct TensorBody {
  std::shared_ptr<Storage> storage;
  Shape shape;
  DType dtype = DType::f32;
  bool requires_grad = false;
  std::shared_ptr<Node> node;  // the op that made it; null for leaves
  Tensor grad;                 // leaves only
};

// A tensor on a new storage with the given layout, not initialised.
Tensor make_tensor(const Shape& shape, DType dtype, Device device, Layout layout = Layout::nhwc);

// The layout of x's storage, and x in a given layout (itself if it already is).
Layout layout_of(const Tensor& x);
Tensor in_layout(const Tensor& x, Layout layout);

}  // namespace engine
