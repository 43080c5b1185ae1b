#pragma once
// Plain types shared by kernels and engine: no CUDA header, no dependency.
#include <bit>
#include <cstdint>

struct CUstream_st;  // CUDA's; declared here so that Stream is the same type with and without CUDA's headers

namespace engine::kernels {

// Storage of bfloat16 (8 exponent bits, 7 fraction bits).
struct bf16 {
  uint16_t bits;
};

// Storage of IEEE 754 binary16.
struct f16 {
  uint16_t bits;
};

inline float to_float(float value) {
  return value;
}
inline float to_float(bf16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}
inline float to_float(f16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const uint32_t fraction = value.bits & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
}

// Rounds to nearest, ties to even; NaN stays a (quiet) NaN. T is float, bf16 or f16.
template <class T>
T from_float(float value);

template <>
inline float from_float<float>(float value) {
  return value;
}
template <>
inline bf16 from_float<bf16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
template <>
inline f16 from_float<f16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // rounds to 65536 or more: infinity
  if (magnitude < 0x38800000u) {                                                 // below 2^-14: subnormal
    // Adding 0.5 aligns the value to multiples of 2^-24, the hardware rounds to nearest even.
    const float aligned = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(aligned) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

// How activations and filters are stored; sums are f32 always.
enum class DataType : uint8_t { f32, bf16, f16 };

inline int64_t size_of(DataType type) {
  return type == DataType::f32 ? 4 : 2;
}

// A queue of the device: CUDA's cudaStream_t, without its header. Null is the default stream.
using Stream = ::CUstream_st*;

// A 2-d convolution: x [N,H,W,C], w [K,R,S,C/groups], y [N,P,Q,K]; square stride and zero padding.
struct Conv2dShape {
  int64_t n = 0, h = 0, w = 0, c = 0, k = 0, r = 1, s = 1;
  int64_t stride = 1, padding = 0, groups = 1;
  int64_t p() const { return (h + 2 * padding - r) / stride + 1; }
  int64_t q() const { return (w + 2 * padding - s) / stride + 1; }
  int64_t macs() const { return n * p() * q() * k * r * s * (c / groups); }
  bool operator==(const Conv2dShape&) const = default;
};

// What a launch must at least move between memory and chip, and compute (2 flops a multiply-add).
struct Cost {
  int64_t bytes = 0;
  int64_t flops = 0;
};

}  // namespace engine::kernels
