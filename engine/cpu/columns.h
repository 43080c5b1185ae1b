#pragma once
// Walking the columns of an activation in parallel, and sums over them.
#include <algorithm>
#include <cstdint>

#include "engine/cpu/threads.h"
#include "engine/cpu/view.h"

namespace engine::cpu {

// Long columns are cut so that few channels and few images still give every thread work. The cut depends on the shape
// alone: so do the results.
inline constexpr int64_t kSegmentPixels = 2048;

struct Segments {
  int64_t count, pixels;
  explicit Segments(const ChannelView& view)
      : count(std::max<int64_t>((view.pixels + kSegmentPixels - 1) / kSegmentPixels, 1)),
        pixels((view.pixels + count - 1) / count) {}
};

// Calls body(image, block, first pixel, pixels, part) for the columns of blocks [first, last); `part` numbers the
// columns of one block from 0 to images * segments - 1.
template <class Body>
void for_each_column(const ChannelView& view, int64_t first, int64_t last, bool worth_it, const Body& body) {
  const Segments segments(view);
  const int64_t per_image = (last - first) * segments.count;
  parallel_for(
      view.images * per_image,
      [&](int64_t begin, int64_t end) {
        for (int64_t unit = begin; unit < end; ++unit) {
          const int64_t image = unit / per_image, block = first + unit % per_image / segments.count;
          const int64_t segment = unit % segments.count, pixel = segment * segments.pixels;
          body(image, block, pixel, std::min(segments.pixels, view.pixels - pixel), image * segments.count + segment);
        }
      },
      worth_it);
}

// sums [C] f32 = sums of x [N,H,W,C] or [N,C] over everything but the channels.
void channel_sums(const Tensor& x, const Tensor& sums);

}  // namespace engine::cpu
