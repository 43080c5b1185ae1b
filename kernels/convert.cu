// Changes of element type.
#include <cstdint>
#include <type_traits>

#include "kernels/layout.h"
#include "kernels/vector.h"

namespace engine::kernels {
namespace {

template <class F>
bool with_element(ElementType type, const F& f) {
  switch (type) {
    case ElementType::f32:
      return f(float{});
    case ElementType::bf16:
      return f(bf16{});
    case ElementType::f16:
      return f(f16{});
    case ElementType::u8:
      return f(uint8_t{});
    case ElementType::i64:
      return f(int64_t{});
  }
  return false;
}

template <class To, class From>
GPU_DEVICE To cast(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_integral_v<From> && std::is_integral_v<To>) {
    if constexpr (sizeof(To) < sizeof(From))
      return static_cast<To>(value < 0 ? 0 : (value > 255 ? 255 : value));
    else
      return static_cast<To>(value);
  } else if constexpr (std::is_integral_v<From>) {
    return gpu::from_float<To>(static_cast<float>(value));
  } else if constexpr (std::is_integral_v<To>) {
    const float f = gpu::to_float(value);
    constexpr To kLeast = std::is_same_v<To, int64_t> ? static_cast<To>(INT64_MIN) : To{0};
    constexpr To kMost = std::is_same_v<To, int64_t> ? static_cast<To>(INT64_MAX) : static_cast<To>(255);
    if (f != f) return To{0};
    if (f < static_cast<float>(kLeast)) return kLeast;
    return f >= static_cast<float>(kMost) ? kMost : static_cast<To>(f);
  } else {
    return gpu::from_float<To>(gpu::to_float(value));
  }
}

// Eight elements as whole vectors of memory.
constexpr int kWide = 8;
template <class T>
struct alignas(sizeof(T) * kWide < 16 ? sizeof(T) * kWide : 16) Eight {
  T v[kWide];
};

template <class From, class To>
__global__ void __launch_bounds__(kThreads) convert_elements(const From* x, To* y, int64_t count, bool wide) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads, vectors = wide ? count / kWide : 0;
  for (int64_t i = first; i < vectors; i += step) {
    const Eight<From> from = reinterpret_cast<const Eight<From>*>(x)[i];
    Eight<To> to;
#pragma unroll
    for (int j = 0; j < kWide; ++j) to.v[j] = cast<To>(from.v[j]);
    reinterpret_cast<Eight<To>*>(y)[i] = to;
  }
  for (int64_t i = vectors * kWide + first; i < count; i += step) y[i] = cast<To>(x[i]);
}

}  // namespace

bool convert(const Convert& args, Stream stream) {
  if (args.count < 0 || (args.count > 0 && (!args.x || !args.y))) return false;
  if (args.x == args.y && size_of(args.x_type) != size_of(args.y_type)) return false;
  if (args.count == 0) return true;
  const bool wide = aligned16(args.x, args.y);
  return with_element(args.x_type, [&](auto from) {
    return with_element(args.y_type, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      return gpu::launch(
          convert_elements<From, To>,
          {.grid = blocks_for(args.count, wide ? kThreads * kWide : kThreads), .block = kThreads, .stream = stream},
          static_cast<const From*>(args.x), static_cast<To*>(args.y), args.count, wide);
    });
  });
}
Cost convert_cost(const Convert& args) {
  return {.bytes = args.count * (size_of(args.x_type) + size_of(args.y_type)), .flops = 0};
}

}  // namespace engine::kernels
