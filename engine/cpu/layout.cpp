// Changes of element type and layout, and the parameter-free shortcut, which changes shape and layout at once.
#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "engine/cpu/backend.h"
#include "engine/cpu/simd/kernels.h"
#include "engine/cpu/threads.h"
#include "engine/cpu/view.h"

namespace engine::cpu {
namespace {

template <class Body>
void dispatch_any(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::f32:
      return body(float{});
    case DType::bf16:
      return body(bf16{});
    case DType::f16:
      return body(f16{});
    case DType::u8:
      return body(uint8_t{});
    case DType::i64:
      return body(int64_t{});
  }
}

template <class T>
constexpr bool kIsInteger = std::is_integral_v<T>;

// Towards zero into integers, limited to their range; NaN becomes 0.
template <class To, class From>
To cast(From value) {
  if constexpr (kIsInteger<From> && kIsInteger<To>) {
    if constexpr (sizeof(To) < sizeof(From)) return static_cast<To>(std::clamp<From>(value, 0, 255));
    return static_cast<To>(value);
  } else if constexpr (kIsInteger<From>) {
    return kernels::from_float<To>(static_cast<float>(value));
  } else if constexpr (kIsInteger<To>) {
    const float f = kernels::to_float(value);
    constexpr float kLeast = static_cast<float>(std::numeric_limits<To>::min());
    constexpr float kMost = static_cast<float>(std::numeric_limits<To>::max());
    if (!(f >= kLeast)) return f < kLeast ? std::numeric_limits<To>::min() : To{0};
    return f >= kMost ? std::numeric_limits<To>::max() : static_cast<To>(f);
  } else {
    return kernels::from_float<To>(kernels::to_float(value));
  }
}

// Same layout, any types.
void convert_type(const Tensor& x, const Tensor& y) {
  const int64_t count = x.numel();
  const auto in_parts = [&](const auto& body) {
    parallel_for(count, body, static_cast<int64_t>(std::max(x.bytes(), y.bytes())) > kSerialBytes);
  };
  const auto& kernels = kernels_for_this_cpu();
  if (x.dtype() == y.dtype()) {
    const auto size = static_cast<int64_t>(size_of(x.dtype()));
    return in_parts([&](int64_t begin, int64_t end) {
      std::memcpy(y.raw<char>() + begin * size, x.raw<char>() + begin * size,
                  static_cast<size_t>((end - begin) * size));
    });
  }
  if (x.dtype() == DType::f32 && y.dtype() == DType::bf16)
    return in_parts([&](int64_t begin, int64_t end) {
      kernels.to_bf16(x.raw<float>() + begin, y.raw<bf16>() + begin, end - begin);
    });
  if (x.dtype() == DType::bf16 && y.dtype() == DType::f32)
    return in_parts([&](int64_t begin, int64_t end) {
      kernels.to_f32(x.raw<bf16>() + begin, y.raw<float>() + begin, end - begin);
    });
  dispatch_any(x.dtype(), [&](auto from) {
    dispatch_any(y.dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      in_parts([&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y.raw<To>()[i] = cast<To>(x.raw<From>()[i]);
      });
    });
  });
}

// Same type, different layouts.
void convert_layout(const Tensor& x, const Tensor& y) {
  const ChannelView from = channel_view(x), to = channel_view(y);
  dispatch_any(x.dtype(), [&](auto type) {
    using T = decltype(type);
    parallel_for(
        from.images * from.blocks,
        [&](int64_t begin, int64_t end) {
          for (int64_t unit = begin; unit < end; ++unit) {
            const int64_t image = unit / from.blocks, block = unit % from.blocks;
            const T* source = x.raw<T>() + from.offset(image, block);
            T* target = y.raw<T>() + to.offset(image, block);
            for (int64_t pixel = 0; pixel < from.pixels; ++pixel)
              std::memcpy(target + pixel * to.stride, source + pixel * from.stride,
                          static_cast<size_t>(from.lanes(block)) * sizeof(T));
          }
        },
        static_cast<int64_t>(x.bytes()) > kSerialBytes);
  });
}

// Zeroes `pixels` pixels of an image from `first` on.
template <class T>
void clear_pixels(const Tensor& x, const ChannelView& view, int64_t image, int64_t first, int64_t pixels) {
  const bool blocked = view.stride == 16;
  for (int64_t block = 0; block < (blocked ? view.blocks : 1); ++block)
    std::memset(x.raw<T>() + view.offset(image, block, first), 0,
                static_cast<size_t>(pixels * view.stride) * sizeof(T));
}

// Copies between the big tensor's strided pixels and the small one's channels [before, before + big's channels).
// `visit(big element, small element, elements)` gets runs that are contiguous in both; `begin(image, row)` comes before
// those of a row of the small tensor, so that what it zeroes is in the cache still when it is overwritten.
template <class Begin, class Visit>
void for_each_run(const Tensor& big, const Tensor& small, int64_t stride, int64_t before, const Begin& begin_row,
                  const Visit& visit) {
  const ChannelView b = channel_view(big), s = channel_view(small);
  const int64_t p = small.size(1), q = small.size(2), w = big.size(2);
  parallel_for(
      b.images * p,
      [&](int64_t begin, int64_t end) {
        for (int64_t unit = begin; unit < end; ++unit) {
          const int64_t image = unit / p, row = unit % p;
          begin_row(image, row);
          for (int64_t c = 0; c < b.channels;) {
            const int64_t to = c + before;
            const int64_t run = std::min({b.channels - c, 16 - c % 16, 16 - to % 16});
            for (int64_t column = 0; column < q; ++column)
              visit(b.offset(image, c / 16, row * stride * w + column * stride) + c % 16,
                    s.offset(image, to / 16, row * q + column) + to % 16, run);
            c += run;
          }
        }
      },
      static_cast<int64_t>(small.bytes()) > kSerialBytes);
}

// A half and a whole block of channels, the usual runs, take one instruction or two, and no call.
template <class T>
void copy_run(const T* from, T* to, int64_t count) {
  if (count == 8)
    std::memcpy(to, from, 8 * sizeof(T));
  else if (count == 16)
    std::memcpy(to, from, 16 * sizeof(T));
  else
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
}

}  // namespace

void CpuBackend::convert(const Tensor& x, const Tensor& y) {
  if (layout_of(x) == layout_of(y)) return convert_type(x, y);
  if (x.dtype() == y.dtype()) return convert_layout(x, y);
  const Tensor between = make_tensor(x.shape(), y.dtype(), x.device(), layout_of(x));
  convert_type(x, between);
  convert_layout(between, y);
}

void CpuBackend::subsample_pad(const Tensor& x, int64_t stride, int64_t before, const Tensor& y) {
  const ChannelView out = channel_view(y);
  const int64_t q = y.size(2);
  dispatch("subsample_pad", x.dtype(), [&](auto type) {
    using T = decltype(type);
    for_each_run(
        x, y, stride, before, [&](int64_t image, int64_t row) { clear_pixels<T>(y, out, image, row * q, q); },
        [&](int64_t from, int64_t to, int64_t count) { copy_run(x.raw<T>() + from, y.raw<T>() + to, count); });
  });
}

void CpuBackend::subsample_pad_backward(const Tensor& dy, int64_t stride, int64_t before, const Tensor& dx) {
  const ChannelView out = channel_view(dx);
  const int64_t h = dx.size(1), w = dx.size(2), p = dy.size(1);
  dispatch("subsample_pad_backward", dx.dtype(), [&](auto type) {
    using T = decltype(type);
    for_each_run(
        dx, dy, stride, before,
        [&](int64_t image, int64_t row) {
          const int64_t end = row + 1 == p ? h : (row + 1) * stride;  // with the rows that the stride left out
          clear_pixels<T>(dx, out, image, row * stride * w, (end - row * stride) * w);
        },
        [&](int64_t to, int64_t from, int64_t count) { copy_run(dy.raw<T>() + from, dx.raw<T>() + to, count); });
  });
}

}  // namespace engine::cpu
