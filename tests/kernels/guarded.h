#pragma once
// Arrays on the device between guards, at any alignment, for tests of kernels.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/arrays.h"
#include "tests/compare.h"
#include "tests/kernels/device_buffer.h"

namespace engine::testing {

using kernels::DataType;

inline const DataType kDataTypes[] = {DataType::f32, DataType::bf16, DataType::f16};

// No grid of the memory-bound kernels has more threads; with more elements, a thread has several.
inline constexpr int64_t kMostThreads = 4096 * 256;

inline std::string name_of(DataType type) {
  return engine::name_of(dtype_of(type));
}

// `offset` elements behind a multiple of 16 bytes: 0 for vector paths, 1 for paths that must not need that.
class Guarded {
 public:
  Guarded(DataType type, const Array& values, int64_t offset = 0)
      : type_(type),
        begin_(kGuard + static_cast<size_t>(offset)),
        count_(values.size()),
        array_(type, around(values)) {}
  // NaN between the guards.
  Guarded(DataType type, int64_t count, int64_t offset = 0)
      : Guarded(type, Array(static_cast<size_t>(count), std::nan("")), offset) {}

  template <class T = void>
  T* as() const {
    return reinterpret_cast<T*>(static_cast<char*>(array_.data()) + begin_ * static_cast<size_t>(size_of(type_)));
  }
  void* data() const { return as(); }
  float* floats() const { return as<float>(); }

  // Fails the running test if a guard was overwritten.
  Array values() const {
    const Array all = array_.values();
    for (size_t i = 0; i < all.size(); ++i) {
      if (i >= begin_ && i < begin_ + count_) continue;
      EXPECT_EQ(all[i], kMark) << "guard " << i << " of " << all.size();
    }
    return {all.begin() + static_cast<std::ptrdiff_t>(begin_),
            all.begin() + static_cast<std::ptrdiff_t>(begin_ + count_)};
  }

 private:
  static constexpr size_t kGuard = 16;  // whole vectors of every type
  static constexpr double kMark = 77;

  Array around(const Array& values) const {
    Array all(begin_ + values.size() + kGuard, kMark);
    std::copy(values.begin(), values.end(), all.begin() + static_cast<std::ptrdiff_t>(begin_));
    return all;
  }

  DataType type_;
  size_t begin_, count_;
  DeviceArray array_;
};

inline Guarded floats_of(const Array& values, int64_t offset = 0) {
  return Guarded(DataType::f32, values, offset);
}
inline Guarded floats(int64_t count, int64_t offset = 0) {
  return Guarded(DataType::f32, count, offset);
}

}  // namespace engine::testing
