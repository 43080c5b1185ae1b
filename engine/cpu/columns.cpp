#include "engine/cpu/columns.h"

#include "engine/cpu/allocator.h"
#include "engine/cpu/simd/kernels.h"

namespace engine::cpu {

void channel_sums(const Tensor& x, const Tensor& sums) {
  const ChannelView view = channel_view(x);
  const int64_t parts = view.images * Segments(view).count;
  const Buffer partial(static_cast<size_t>(parts * view.blocks * 16) * sizeof(float));
  float* const part_sums = partial.as<float>();
  dispatch("channel_sums", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto& kernel = kernels_for_this_cpu().of<T>();
    for_each_column(view, 0, view.blocks, static_cast<int64_t>(x.bytes()) > kSerialBytes,
                    [&](int64_t image, int64_t block, int64_t pixel, int64_t pixels, int64_t part) {
                      kernel.column_sum(x.raw<T>() + view.offset(image, block, pixel), view.column(block, pixels),
                                        part_sums + (block * parts + part) * 16);
                    });
  });
  for (int64_t c = 0; c < view.channels; ++c) {
    double sum = 0;
    for (int64_t part = 0; part < parts; ++part) sum += part_sums[(c / 16 * parts + part) * 16 + c % 16];
    sums.raw<float>()[c] = static_cast<float>(sum);
  }
}

}  // namespace engine::cpu
