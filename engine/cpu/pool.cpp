// Pooling, one image and channel block at a time.
#include "engine/cpu/backend.h"
#include "engine/cpu/simd/kernels.h"
#include "engine/cpu/threads.h"
#include "engine/cpu/view.h"

namespace engine::cpu {
namespace {

// `big` is the tensor with the window's input shape, `small` the one with its output shape.
PoolPlane plane_of(const PoolShape& pool, const Tensor& big, const Tensor& small) {
  return {.h = big.size(1),
          .w = big.size(2),
          .p = small.size(1),
          .q = small.size(2),
          .window = pool.window,
          .stride = pool.stride,
          .padding = pool.padding};
}

template <class Body>
void for_each_plane(const Tensor& x, const Body& body) {
  const ChannelView view = channel_view(x);
  parallel_for(
      view.images * view.blocks,
      [&](int64_t begin, int64_t end) {
        for (int64_t unit = begin; unit < end; ++unit) body(unit / view.blocks, unit % view.blocks);
      },
      static_cast<int64_t>(x.bytes()) > kSerialBytes);
}

}  // namespace

void CpuBackend::max_pool_forward(const PoolShape& pool, const Tensor& x, const Tensor& y, const Tensor& argmax) {
  const ChannelView in = channel_view(x), out = channel_view(y);
  const PoolPlane plane = plane_of(pool, x, y);
  dispatch("max_pool2d", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto& kernel = kernels_for_this_cpu().of<T>();
    for_each_plane(x, [&](int64_t image, int64_t block) {
      const int64_t at = out.offset(image, block);
      kernel.max_pool(x.raw<T>() + in.offset(image, block), y.raw<T>() + at,
                      argmax.defined() ? argmax.raw<uint8_t>() + at : nullptr, plane, in.stride, in.lanes(block));
    });
  });
}

void CpuBackend::max_pool_backward(const PoolShape& pool, const Tensor& dy, const Tensor& argmax, const Tensor& dx) {
  const ChannelView in = channel_view(dx), out = channel_view(dy);
  const PoolPlane plane = plane_of(pool, dx, dy);
  dispatch("max_pool2d_backward", dx.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto& kernel = kernels_for_this_cpu().of<T>();
    for_each_plane(dx, [&](int64_t image, int64_t block) {
      const int64_t at = out.offset(image, block);
      kernel.max_pool_backward(dy.raw<T>() + at, argmax.raw<uint8_t>() + at, dx.raw<T>() + in.offset(image, block),
                               plane, in.stride, in.lanes(block));
    });
  });
}

void CpuBackend::avg_pool_forward(const PoolShape& pool, const Tensor& x, const Tensor& y) {
  const ChannelView in = channel_view(x), out = channel_view(y);
  const PoolPlane plane = plane_of(pool, x, y);
  dispatch("avg_pool2d", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto& kernel = kernels_for_this_cpu().of<T>();
    for_each_plane(x, [&](int64_t image, int64_t block) {
      kernel.avg_pool(x.raw<T>() + in.offset(image, block), y.raw<T>() + out.offset(image, block), plane, in.stride,
                      in.lanes(block));
    });
  });
}

void CpuBackend::avg_pool_backward(const PoolShape& pool, const Tensor& dy, const Tensor& dx) {
  const ChannelView in = channel_view(dx), out = channel_view(dy);
  const PoolPlane plane = plane_of(pool, dx, dy);
  dispatch("avg_pool2d_backward", dx.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto& kernel = kernels_for_this_cpu().of<T>();
    for_each_plane(dx, [&](int64_t image, int64_t block) {
      kernel.avg_pool_backward(dy.raw<T>() + out.offset(image, block), dx.raw<T>() + in.offset(image, block), plane,
                               in.stride, in.lanes(block));
    });
  });
}

void CpuBackend::global_avg_pool_forward(const Tensor& x, const Tensor& y) {
  const ChannelView in = channel_view(x);
  const float scale = 1.0f / static_cast<float>(in.pixels);
  dispatch("global_avg_pool", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto& kernel = kernels_for_this_cpu().of<T>();
    for_each_plane(x, [&](int64_t image, int64_t block) {
      float sum[16];
      kernel.column_sum(x.raw<T>() + in.offset(image, block), in.column(block, in.pixels), sum);
      T* const out = y.raw<T>() + image * in.channels + block * 16;
      for (int lane = 0; lane < in.lanes(block); ++lane) out[lane] = kernels::from_float<T>(sum[lane] * scale);
    });
  });
}

void CpuBackend::global_avg_pool_backward(const Tensor& dy, const Tensor& dx) {
  const ChannelView in = channel_view(dx);
  const float scale = 1.0f / static_cast<float>(in.pixels);
  dispatch("global_avg_pool_backward", dx.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto& kernel = kernels_for_this_cpu().of<T>();
    for_each_plane(dx, [&](int64_t image, int64_t block) {
      float value[16] = {};
      const T* const from = dy.raw<T>() + image * in.channels + block * 16;
      for (int lane = 0; lane < in.lanes(block); ++lane) value[lane] = kernels::to_float(from[lane]) * scale;
      kernel.fill_column(value, dx.raw<T>() + in.offset(image, block), in.column(block, in.pixels));
    });
  });
}

}  // namespace engine::cpu
