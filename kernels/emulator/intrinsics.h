#pragma once
// CUDA's numerical intrinsics and functions that C++ lacks. The fast ones (__expf, rsqrtf, ...) are exact to the last
// bit or two here and are not on a GPU: compare results with a tolerance.
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's names
inline float __uint_as_float(unsigned bits) {
  return std::bit_cast<float>(bits);
}
inline unsigned __float_as_uint(float value) {
  return std::bit_cast<unsigned>(value);
}
inline float __int_as_float(int bits) {
  return std::bit_cast<float>(bits);
}
inline int __float_as_int(float value) {
  return std::bit_cast<int>(value);
}

inline float __fmaf_rn(float a, float b, float c) {
  return std::fmaf(a, b, c);
}
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fsub_rn(float a, float b) {
  return a - b;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fdiv_rn(float a, float b) {
  return a / b;
}
inline float __fdividef(float a, float b) {
  return a / b;
}
inline float __frcp_rn(float a) {
  return 1.0f / a;
}
inline float __fsqrt_rn(float a) {
  return std::sqrt(a);
}
inline float __frsqrt_rn(float a) {
  return 1.0f / std::sqrt(a);
}
inline float __expf(float a) {
  return std::exp(a);
}
inline float __logf(float a) {
  return std::log(a);
}
inline float __powf(float a, float b) {
  return std::pow(a, b);
}
#if !defined(__GLIBC__) || !__GLIBC_PREREQ(2, 42)  // later versions have C23's
inline float rsqrtf(float a) {
  return 1.0f / std::sqrt(a);
}
#endif

inline int __float2int_rn(float a) {
  return static_cast<int>(std::nearbyint(a));
}
inline int __float2int_rd(float a) {
  return static_cast<int>(std::floor(a));
}
inline int __float2int_rz(float a) {
  return static_cast<int>(a);
}
inline float __int2float_rn(int a) {
  return static_cast<float>(a);
}

inline int __popc(unsigned a) {
  return std::popcount(a);
}
inline int __clz(int a) {
  return std::countl_zero(static_cast<unsigned>(a));
}
inline int __ffs(int a) {
  return __builtin_ffs(a);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const uint64_t bytes = (static_cast<uint64_t>(b) << 32) | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned choice = selector >> (4 * i);
    unsigned byte = static_cast<unsigned>(bytes >> (8 * (choice & 7u))) & 0xffu;
    if ((choice & 8u) != 0) byte = (byte & 0x80u) != 0 ? 0xffu : 0u;  // the sign, replicated
    result |= byte << (8 * i);
  }
  return result;
}

// As CUDA's: of a number and a NaN the number. Written so that g++ does not make it a call of fmaxf().
template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  const T x = static_cast<T>(a), y = static_cast<T>(b);
  return x <= y ? x : y == y ? y : x;
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  const T x = static_cast<T>(a), y = static_cast<T>(b);
  return x >= y ? x : y == y ? y : x;
}
// NOLINTEND(bugprone-reserved-identifier)
