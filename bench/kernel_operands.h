#pragma once
// The operands of one case of kernel_bench.
#include <memory>
#include <utility>
#include <vector>

#include "bench/kernel_cases.h"

namespace engine::bench {

class Operands {
 public:
  Operands(const kernels::Runtime& runtime, kernels::DataType type, kernels::Stream stream)
      : runtime_(runtime), type_(type), stream_(stream) {}

  void* activation(int64_t count) { return add(count * size_of(type_), type_)->as(); }
  float* floats(int64_t count) { return add(count * 4, kernels::DataType::f32)->as<float>(); }
  void* bytes(size_t count) { return add(static_cast<int64_t>(count), kernels::DataType::f32)->as(); }
  // `values` on the device; numbers that have to be in a range, such as labels.
  template <class T>
  T* copy_of(const std::vector<T>& values);
  std::vector<std::unique_ptr<DeviceMemory>> take() { return std::move(all_); }

 private:
  DeviceMemory* add(int64_t bytes, kernels::DataType type) {
    all_.push_back(std::make_unique<DeviceMemory>(runtime_, static_cast<size_t>(bytes), type, stream_));
    return all_.back().get();
  }
  void copy(void* to, const void* from, size_t bytes);

  const kernels::Runtime& runtime_;
  kernels::DataType type_;
  kernels::Stream stream_;
  std::vector<std::unique_ptr<DeviceMemory>> all_;
};

template <class T>
T* Operands::copy_of(const std::vector<T>& values) {
  void* data = bytes(values.size() * sizeof(T));
  copy(data, values.data(), values.size() * sizeof(T));
  return static_cast<T*>(data);
}

}  // namespace engine::bench
