#pragma once
#include <cstddef>
#include <cstdint>
#include <iosfwd>

#include "kernels/types.h"

namespace engine {

using kernels::bf16;
using kernels::f16;

enum class DType : uint8_t { f32, bf16, f16, u8, i64 };

size_t size_of(DType dtype);       // bytes of one element
const char* name_of(DType dtype);  // "f32", "bf16", "f16", "u8", "i64"
bool is_floating(DType dtype);
std::ostream& operator<<(std::ostream& out, DType dtype);

// The DType of a C++ element type: dtype_of<float> == DType::f32.
template <class T>
inline constexpr DType dtype_of = [] {
  static_assert(sizeof(T) == 0, "tensors hold float, bf16, f16, uint8_t or int64_t");
  return DType::f32;
}();
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<bf16> = DType::bf16;
template <>
inline constexpr DType dtype_of<f16> = DType::f16;
template <>
inline constexpr DType dtype_of<uint8_t> = DType::u8;
template <>
inline constexpr DType dtype_of<int64_t> = DType::i64;

}  // namespace engine
