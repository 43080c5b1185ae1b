#include "engine/dlpack.h"

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <type_traits>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/storage.h"

namespace engine {
namespace {

using dlpack::DLDataType;
using dlpack::DLDevice;
using dlpack::DLManagedTensor;
using dlpack::DLManagedTensorVersioned;
using dlpack::DLTensor;

// The structures as dlpack.h 1.1 lays them out for 64-bit processors.
static_assert(sizeof(DLTensor) == 48 && offsetof(DLTensor, shape) == 24 && offsetof(DLTensor, byte_offset) == 40);
static_assert(sizeof(DLManagedTensor) == 64 && offsetof(DLManagedTensor, deleter) == 56);
static_assert(sizeof(DLManagedTensorVersioned) == 80 && offsetof(DLManagedTensorVersioned, tensor) == 32);

struct Known {
  DType dtype;
  uint8_t code, bits;
};
constexpr std::array<Known, 5> kTypes = {{{DType::f32, dlpack::kFloat, 32},
                                          {DType::bf16, dlpack::kBfloat, 16},
                                          {DType::f16, dlpack::kFloat, 16},
                                          {DType::u8, dlpack::kUInt, 8},
                                          {DType::i64, dlpack::kInt, 64}}};

// --- out ---

// What somebody outside holds, until he calls its deleter.
template <class Managed>
struct Export {
  Managed managed;
  Tensor tensor;
  kernels::Stream consumer = nullptr;
  std::array<int64_t, 6> shape = {}, strides = {};
};

bool on_gpu(const Tensor& x) {
  return x.device().type == DeviceType::cuda;
}

template <class Managed>
void release(Managed* self) {
  const std::unique_ptr<Export<Managed>> held(static_cast<Export<Managed>*>(self->context));
  held->tensor.storage().unshare_outside();
  if (!on_gpu(held->tensor)) return;
  try {
    Backend& device = backend(held->tensor.device());
    device.order_streams(held->consumer, device.stream());  // the memory goes to later work of the engine's stream
  } catch (const Error&) {
    // A device that does not answer any more: whoever uses it next is told, a C function has nobody to tell.
  }
}

template <class Managed>
Managed* exported(const Tensor& x, kernels::Stream consumer) {
  check(x.defined(), "to_dlpack: the tensor is undefined");
  auto held = std::make_unique<Export<Managed>>();
  held->tensor = x.detach().reshape(x.shape());  // also makes a private layout row-major
  held->consumer = consumer;
  int64_t stride = 1;
  for (int axis = x.shape().rank() - 1; axis >= 0; --axis) {
    held->shape[static_cast<size_t>(axis)] = x.size(axis);
    held->strides[static_cast<size_t>(axis)] = stride;
    stride *= x.size(axis);
  }
  DLTensor& view = held->managed.tensor;
  view.data = held->tensor.raw();
  if (on_gpu(x)) view.device = {dlpack::kCuda, x.device().index};
  view.ndim = x.shape().rank();
  for (const Known& known : kTypes)
    if (known.dtype == x.dtype()) view.dtype = {known.code, known.bits, 1};
  view.shape = held->shape.data();
  view.strides = held->strides.data();
  if (on_gpu(x)) {
    Backend& device = backend(x.device());
    device.order_streams(device.stream(), consumer);
  }
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    if (x.storage().read_only()) held->managed.flags = dlpack::kReadOnly;
  }
  held->managed.deleter = release<Managed>;
  held->managed.context = held.get();
  x.storage().share_outside();
  return &held.release()->managed;
}

// --- in ---

DType dtype_of_elements(const DLDataType& type) {
  for (const Known& known : kTypes)
    if (known.code == type.code && known.bits == type.bits && type.lanes == 1) return known.dtype;
  fail(ErrorKind::usage, "from_dlpack: the elements have type code ", int{type.code}, " with ", int{type.bits},
       " bits and ", type.lanes, " lanes, expected f32, bf16, f16, u8 or i64; convert them first");
}

Device device_of(const DLDevice& device) {
  if (device.kind == dlpack::kCpu || device.kind == dlpack::kCudaHost) return {};
  check(device.kind == dlpack::kCuda, "from_dlpack: the memory belongs to a device of kind ", device.kind,
        ", expected the CPU (1), CUDA (2) or pinned memory of the host (3)");
  return {DeviceType::cuda, device.index};
}

std::string list(const int64_t* values, int32_t count) {
  std::ostringstream text;
  for (int32_t i = 0; i < count; ++i) text << (i == 0 ? "[" : ",") << values[i];
  return count == 0 ? "[]" : text.str() + "]";
}

void check_row_major(const DLTensor& view) {
  if (view.strides == nullptr) return;
  int64_t expected = 1;
  bool dense = true;
  for (int32_t axis = view.ndim - 1; axis >= 0; --axis) {
    dense = dense && (view.shape[axis] == 1 || view.strides[axis] == expected);
    expected *= view.shape[axis];
  }
  check(dense || expected == 0, "from_dlpack: the shape is ", list(view.shape, view.ndim), " with strides ",
        list(view.strides, view.ndim),
        ", expected row-major elements without gaps; permute to [N,H,W,C] or call "
        "contiguous() first");
}

// `let_go` is called when the last tensor on the memory is gone.
Tensor imported(const DLTensor& view, const std::function<void()>& let_go, bool read_only) {
  constexpr int32_t kMostAxes = 6;
  check(view.ndim >= 0 && view.ndim <= kMostAxes, "from_dlpack: the tensor has ", view.ndim, " axes, expected at most ",
        kMostAxes);
  const Shape shape(std::span<const int64_t>(view.shape, static_cast<size_t>(view.ndim)));
  check_row_major(view);
  auto body = std::make_shared<TensorBody>();
  body->shape = shape;
  body->dtype = dtype_of_elements(view.dtype);
  const Device device = device_of(view.device);
  Backend& there = backend(device);  // throws if it cannot be used

  const auto bytes = static_cast<size_t>(shape.numel()) * size_of(body->dtype);
  auto* data = static_cast<std::byte*>(view.data) + view.byte_offset;
  const size_t alignment = device.type == DeviceType::cuda ? 16 : size_of(body->dtype);
  check(bytes == 0 || view.data != nullptr, "from_dlpack: a tensor ", shape, " without an address");
  check(reinterpret_cast<uintptr_t>(data) % alignment == 0, "from_dlpack: the elements ", shape, " begin ",
        reinterpret_cast<uintptr_t>(data) % alignment, " bytes behind a multiple of ", alignment,
        "; clone the tensor first");
  std::shared_ptr<void> owner(data, [let_go, &there, device](void*) {
    try {
      // Whoever gets the memory back knows nothing of the engine's stream.
      if (device.type == DeviceType::cuda) there.synchronize();
    } catch (const Error&) {
      // As in release().
    }
    let_go();
  });
  body->storage = std::make_shared<Storage>(data, bytes, device, std::move(owner), read_only);
  return Tensor(std::move(body));
}

template <class Managed>
std::function<void()> deleter_of(Managed* managed) {
  return [managed] {
    if (managed->deleter != nullptr) managed->deleter(managed);
  };
}

}  // namespace

dlpack::DLManagedTensorVersioned* to_dlpack(const Tensor& x, kernels::Stream consumer) {
  return exported<DLManagedTensorVersioned>(x, consumer);
}

dlpack::DLManagedTensor* to_dlpack_legacy(const Tensor& x, kernels::Stream consumer) {
  check(!x.defined() || !x.storage().read_only(),
        "to_dlpack_legacy: this memory may not be written, which only the versioned form can say; use to_dlpack()");
  return exported<DLManagedTensor>(x, consumer);
}

Tensor from_dlpack(dlpack::DLManagedTensorVersioned* managed) {
  check(managed != nullptr, "from_dlpack: no tensor was given");
  check(managed->version.major == dlpack::kMajorVersion, "from_dlpack: the tensor is of DLPack ",
        managed->version.major, '.', managed->version.minor, ", expected ", dlpack::kMajorVersion,
        ".x; ask its library for max_version=(1, 1)");
  return imported(managed->tensor, deleter_of(managed), (managed->flags & dlpack::kReadOnly) != 0);
}

Tensor from_dlpack(dlpack::DLManagedTensor* managed) {
  check(managed != nullptr, "from_dlpack: no tensor was given");
  return imported(managed->tensor, deleter_of(managed), false);
}

}  // namespace engine
