#pragma once
// Sixteen floats at a time, in whatever registers the instruction set of this translation unit has. Everything here is
// compiled once per instruction set (engine/cpu/CMakeLists.txt) and therefore has internal linkage: an inline function
// shared between those objects could end up with the wrong one's instructions.
#include <cstdint>
#include <cstring>

#include "kernels/types.h"

namespace {

using kernels_bf16 = engine::kernels::bf16;

constexpr int kLanes = 16;

using Vec = float __attribute__((vector_size(64)));
using IntVec = int32_t __attribute__((vector_size(64)));
using UintVec = uint32_t __attribute__((vector_size(64)));
using ShortVec = uint16_t __attribute__((vector_size(32)));
using ByteVec = uint8_t __attribute__((vector_size(16)));

#define ENGINE_VEC_INLINE static inline __attribute__((always_inline))

ENGINE_VEC_INLINE Vec splat(float value) {
  return Vec{} + value;
}

ENGINE_VEC_INLINE Vec widen(ShortVec bits) {
  const UintVec wide = __builtin_convertvector(bits, UintVec) << 16;
  Vec result;
  std::memcpy(&result, &wide, sizeof result);
  return result;
}

// To bf16, nearest even, NaN stays NaN: the bits of kernels::from_float<bf16>.
ENGINE_VEC_INLINE ShortVec narrow(Vec value) {
  UintVec bits;
  std::memcpy(&bits, &value, sizeof bits);
  const UintVec rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const UintVec quiet = (bits >> 16) | 0x40u;
  return __builtin_convertvector((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded, ShortVec);
}

ENGINE_VEC_INLINE Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
ENGINE_VEC_INLINE Vec load(const kernels_bf16* p) {
  ShortVec bits;
  std::memcpy(&bits, p, sizeof bits);
  return widen(bits);
}
ENGINE_VEC_INLINE void store(float* p, Vec v) {
  std::memcpy(p, &v, sizeof v);
}
ENGINE_VEC_INLINE void store(kernels_bf16* p, Vec v) {
  const ShortVec bits = narrow(v);
  std::memcpy(p, &bits, sizeof bits);
}

// The first `lanes` elements; the others are zero, or stay as they are in memory.
template <class T>
ENGINE_VEC_INLINE Vec load(const T* p, int lanes) {
  if (lanes == kLanes) return load(p);
  T padded[kLanes] = {};
  std::memcpy(padded, p, static_cast<size_t>(lanes) * sizeof(T));
  return load(padded);
}
template <class T>
ENGINE_VEC_INLINE void store(T* p, Vec v, int lanes) {
  if (lanes == kLanes) return store(p, v);
  T padded[kLanes];
  store(padded, v);
  std::memcpy(p, padded, static_cast<size_t>(lanes) * sizeof(T));
}

// What a value becomes when it is stored as T and read again.
ENGINE_VEC_INLINE Vec rounded_to(Vec v, const float*) {
  return v;
}
ENGINE_VEC_INLINE Vec rounded_to(Vec v, const kernels_bf16*) {
  return widen(narrow(v));
}

ENGINE_VEC_INLINE Vec relu(Vec v) {
  return v < 0.0f ? Vec{} : v;  // a NaN stays visible
}

}  // namespace
