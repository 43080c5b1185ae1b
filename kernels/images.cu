#include "kernels/images.h"

#include "kernels/vector.h"

namespace engine::kernels {
namespace {

// Channels of one launch; their means and deviations travel as kernel arguments.
constexpr int kMostChannels = 8;

struct Job {
  const uint8_t* x;
  const int32_t* offsets;
  const uint8_t* flips;
  int64_t h, w, c, p, q;
  int64_t first_c, last_c;  // the channels of this launch
  float mean[kMostChannels], std[kMostChannels];
};

// A thread makes V consecutive elements of a row of y. V > 1: all channels, and rows of whole vectors.
template <class T, int V>
__global__ void __launch_bounds__(kThreads) normalize(Job job, T* y, int64_t vectors) {
  const int64_t row_vectors = job.q * job.c / V, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < vectors; i += step) {
    const int64_t image_row = i / row_vectors, n = image_row / job.p, p = image_row % job.p;
    const int64_t element = i % row_vectors * V;
    int64_t q = element / job.c, c = element % job.c;
    const int64_t row = p + (job.offsets ? job.offsets[2 * n] : 0);
    const int64_t column0 = job.offsets ? job.offsets[2 * n + 1] : 0;
    const bool flipped = job.flips && job.flips[n] != 0;
    const bool inside = row >= 0 && row < job.h;
    if (V == 1 && (c < job.first_c || c >= job.last_c)) continue;
    Floats<V> values;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const int64_t column = column0 + (flipped ? job.q - 1 - q : q);
      const bool covered = inside && column >= 0 && column < job.w;
      const float u = covered ? static_cast<float>(job.x[((n * job.h + row) * job.w + column) * job.c + c]) : 0.0f;
      values[j] = (u / 255.0f - job.mean[c - job.first_c]) / job.std[c - job.first_c];
      if (++c == job.c) c = 0, ++q;
    }
    store(y + i * V, values);
  }
}

}  // namespace

bool normalize_images(const NormalizeImages& args, Stream stream) {
  if (args.n < 1 || args.h < 1 || args.w < 1 || args.c < 1 || args.p < 1 || args.q < 1) return false;
  if (!args.x || !args.y || !args.mean || !args.std) return false;
  return with_type(args.type, [&](auto stored) {
    using T = decltype(stored);
    const bool vectors = args.c <= kMostChannels && args.q * args.c % kVector<T> == 0 && aligned16(args.y);
    const int64_t count = args.n * args.p * args.q * args.c / (vectors ? kVector<T> : 1);
    bool launched = true;
    for (int64_t first = 0; launched && first < args.c; first += kMostChannels) {
      const int64_t last = args.c - first < kMostChannels ? args.c : first + kMostChannels;
      Job job = {.x = args.x,
                 .offsets = args.offsets,
                 .flips = args.flips,
                 .h = args.h,
                 .w = args.w,
                 .c = args.c,
                 .p = args.p,
                 .q = args.q,
                 .first_c = first,
                 .last_c = last,
                 .mean = {},
                 .std = {}};
      for (int64_t c = first; c < last; ++c) job.mean[c - first] = args.mean[c], job.std[c - first] = args.std[c];
      launched = gpu::launch(vectors ? normalize<T, kVector<T>> : normalize<T, 1>,
                             {.grid = blocks_for(count, kThreads), .block = kThreads, .stream = stream}, job,
                             static_cast<T*>(args.y), count);
    }
    return launched;
  });
}
Cost normalize_images_cost(const NormalizeImages& args) {
  const int64_t count = args.n * args.p * args.q * args.c;
  return {.bytes = count * (1 + size_of(args.type)), .flops = 3 * count};
}

}  // namespace engine::kernels
