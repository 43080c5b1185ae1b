#pragma once
// Storage types to float and back, as the GPU converts: to nearest, ties to even.
#include <bit>
#include <cstdint>
#include <type_traits>
#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "kernels/emulator/language.h"
#include "kernels/types.h"

namespace engine::kernels::gpu {

__forceinline__ float to_float(float value) {
  return value;
}
__forceinline__ float to_float(bf16 value) {
  return kernels::to_float(value);
}
__forceinline__ float to_float(f16 value) {
#if defined(__F16C__)
  return _cvtsh_ss(value.bits);
#else
  return kernels::to_float(value);
#endif
}

template <class T>
__forceinline__ T from_float(float value) {
  return kernels::from_float<T>(value);
}
#if defined(__F16C__)
template <>
__forceinline__ f16 from_float<f16>(float value) {
  return {static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(value), _MM_FROUND_TO_NEAREST_INT)))};
}
#endif

// Two values in one register; the one at the lower address is x, in the lower half. T is bf16 or f16.
template <class T>
__forceinline__ float2 unpack2(uint32_t pair) {
  if constexpr (std::is_same_v<T, bf16>) {
    return {std::bit_cast<float>(pair << 16), std::bit_cast<float>(pair & 0xffff0000u)};
  } else {
    return {gpu::to_float(f16{static_cast<uint16_t>(pair)}), gpu::to_float(f16{static_cast<uint16_t>(pair >> 16)})};
  }
}
template <class T>
__forceinline__ uint32_t pack2(float x, float y) {
  return gpu::from_float<T>(x).bits | static_cast<uint32_t>(gpu::from_float<T>(y).bits) << 16;
}

}  // namespace engine::kernels::gpu
