// Tensors and an op for Python, without a binding generator: engine_tensors.py loads this library with ctypes.
#include <engine/engine.h>

#include <exception>
#include <string>
using namespace engine;

namespace {

thread_local std::string error;

// No exception may leave a C function: null instead, and tensor_error() says what happened.
template <class Action>
auto guarded(const Action& action) -> decltype(action()) {
  try {
    return action();
  } catch (const std::exception& thrown) {
    error = thrown.what();
    return nullptr;
  }
}

}  // namespace

extern "C" {

const char* tensor_error() {
  return error.c_str();
}

// A tensor on the memory behind a DLPack capsule, which now belongs to it.
Tensor* tensor_from_dlpack(void* managed, bool versioned) {
  return guarded([&] {
    return new Tensor(versioned ? from_dlpack(static_cast<dlpack::DLManagedTensorVersioned*>(managed))
                                : from_dlpack(static_cast<dlpack::DLManagedTensor*>(managed)));
  });
}

void* tensor_to_dlpack(const Tensor* x, bool versioned) {
  return guarded([&]() -> void* {
    if (versioned) return to_dlpack(*x);
    return to_dlpack_legacy(*x);
  });
}

// What a capsule holds that nobody took.
void managed_release(void* managed, bool versioned) {
  if (auto* tensor = static_cast<dlpack::DLManagedTensorVersioned*>(managed); versioned) return tensor->deleter(tensor);
  auto* tensor = static_cast<dlpack::DLManagedTensor*>(managed);
  tensor->deleter(tensor);
}

void tensor_free(Tensor* x) {
  delete x;
}

// relu(x), f32
Tensor* tensor_relu(const Tensor* x) {
  return guarded([&] { return new Tensor(relu(*x)); });
}

// x *= factor, in its own memory. Null if that is not possible.
Tensor* tensor_scale(Tensor* x, float factor) {
  return guarded([&] {
    for (float& value : x->mutable_values<float>()) value *= factor;
    return x;
  });
}
}
