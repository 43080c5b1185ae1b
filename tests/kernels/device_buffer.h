#pragma once
// Device memory for tests of kernels. The same test is built for the emulator, for the emulator with race detection,
// and by nvcc for a GPU; device() is what it was built for. Any error, and any finding of the emulator, fails the
// running test.
#include <gtest/gtest.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "engine/dtype.h"
#include "kernels/runtime.h"
#include "kernels/types.h"

namespace engine::testing {

const kernels::Runtime& device();

// 10 * major + minor.
int compute_capability();

// Fails the running test unless the call succeeded.
void expect_ok(const kernels::Status& status, const char* operation);

// Waits for all launches so far.
void finish();

inline DType dtype_of(kernels::DataType type) {
  if (type == kernels::DataType::f32) return DType::f32;
  return type == kernels::DataType::bf16 ? DType::bf16 : DType::f16;
}

// Bytes on the device, exactly as many as asked for: the emulator reports any access beyond.
class DeviceBytes {
 public:
  // All bits set: NaN in each floating-point type.
  explicit DeviceBytes(size_t bytes);
  DeviceBytes(const void* values, size_t bytes);
  DeviceBytes(DeviceBytes&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  DeviceBytes& operator=(DeviceBytes&&) = delete;
  ~DeviceBytes();

  void* data() const { return data_; }
  size_t size() const { return bytes_; }
  // Waits for all launches so far.
  void copy_to(void* values) const;

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t count) : bytes_(count * sizeof(T)) {}
  explicit DeviceBuffer(const std::vector<T>& values) : bytes_(values.data(), values.size() * sizeof(T)) {}

  T* data() const { return static_cast<T*>(bytes_.data()); }
  size_t size() const { return bytes_.size() / sizeof(T); }
  std::vector<T> values() const {
    std::vector<T> values(size());
    bytes_.copy_to(values.data());
    return values;
  }

 private:
  DeviceBytes bytes_;
};

// Numbers in a storage type that is chosen at run time.
class DeviceArray {
 public:
  DeviceArray(kernels::DataType type, size_t count);
  DeviceArray(kernels::DataType type, const std::vector<double>& values);  // rounded to the type

  void* data() const { return bytes_.data(); }
  size_t size() const { return bytes_.size() / static_cast<size_t>(kernels::size_of(type_)); }
  std::vector<double> values() const;

 private:
  kernels::DataType type_;
  DeviceBytes bytes_;
};

}  // namespace engine::testing
