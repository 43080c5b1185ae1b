#pragma once
// Tensors shared with other libraries, without a copy: DLPack, the structures that PyTorch, JAX, CuPy and NumPy hand
// around (https://dmlc.github.io/dlpack/latest/). Both forms, the versioned one of DLPack 1.1 and the one before.
//
// What is shared is row-major memory: an activation [N,H,W,C] is seen as such, and x.permute(0, 3, 1, 2) in PyTorch
// makes it [N,C,H,W] with channels_last strides. Each side sees what the other writes, once it is done. Nothing of the
// tape goes along.
#include <cstdint>

#include "engine/tensor.h"
#include "kernels/types.h"

namespace engine {

// The binary interface, member for member; a pointer to DLPack's own DLManagedTensor may be cast to one of these.
namespace dlpack {

inline constexpr uint32_t kMajorVersion = 1, kMinorVersion = 1;

enum DeviceKind : int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3 };
enum TypeCode : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4 };

struct DLDevice {
  int32_t kind = kCpu;
  int32_t index = 0;
};
struct DLDataType {
  uint8_t code = kFloat;
  uint8_t bits = 32;
  uint16_t lanes = 1;
};
struct DLTensor {
  void* data = nullptr;
  DLDevice device;
  int32_t ndim = 0;
  DLDataType dtype;
  int64_t* shape = nullptr;
  int64_t* strides = nullptr;  // in elements; null: row-major
  uint64_t byte_offset = 0;    // from `data` to the first element
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context = nullptr;
  void (*deleter)(DLManagedTensor* self) = nullptr;
};
struct DLManagedTensorVersioned {
  struct {
    uint32_t major = kMajorVersion, minor = kMinorVersion;
  } version;
  void* context = nullptr;
  void (*deleter)(DLManagedTensorVersioned* self) = nullptr;
  uint64_t flags = 0;
  DLTensor tensor;
};
inline constexpr uint64_t kReadOnly = 1;  // a flag

}  // namespace dlpack

// The elements of x for somebody else, who calls the deleter when he is done, from any thread; until then the memory
// stays, whatever becomes of x. Memory of the emulated device is the host's and is handed out as that. On a GPU
// `consumer` is the stream of that device on which he will read (null: the default stream): it waits for what x is
// still to be computed by, and when he is done the engine waits for it. Filters and matrices that somebody outside may
// write into are prepared for the matrix product anew at each use, as long as he has them.
dlpack::DLManagedTensorVersioned* to_dlpack(const Tensor& x, kernels::Stream consumer = nullptr);
// For those who do not know DLPack 1. Throws Error(usage) for memory that may not be written, which this form cannot
// say.
dlpack::DLManagedTensor* to_dlpack_legacy(const Tensor& x, kernels::Stream consumer = nullptr);

// Somebody else's elements as a tensor, on the CPU or on a GPU; his deleter is called when the last tensor on them is
// gone. On a GPU, what writes them has to come before stream_of(device) (engine/stream.h): pass that stream to Python's
// __dlpack__(stream=...). Read-only memory makes a tensor that copy_from(), mutable_values() and training refuse.
// Throws Error(usage), and leaves `managed` to the caller, for what a Tensor cannot be: strides other than row-major,
// another element type than f32, bf16, f16, u8 or i64, more than six axes, another device, a newer major version, or an
// address that is not a multiple of the element's size (on a GPU: of 16 bytes).
Tensor from_dlpack(dlpack::DLManagedTensorVersioned* managed);
Tensor from_dlpack(dlpack::DLManagedTensor* managed);

}  // namespace engine
