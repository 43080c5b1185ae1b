#include "kernels/images.h"

#include "kernels/vector.h"

namespace engine::kernels {
namespace {

// Channels of one launch; their means and deviations travel as kernel arguments.
constexpr int kMostChannels = 8;

struct Job {
  const uint8_t* x;
  const int64_t* indices;
  const int64_t* offsets;
  const uint8_t* flips;
  const int64_t* erased;
  const ImageMix* mix;
  int64_t n, h, w, c, p, q;
  int64_t first_c, last_c;  // the channels of this launch
  float mean[kMostChannels], std[kMostChannels];
};

// A row of y, as far as one image makes it.
struct Row {
  const uint8_t* x;  // the image's row, null outside of the image
  int64_t column0;
  bool flipped;
  int erased_begin, erased_end;  // columns

  GPU_DEVICE Row(const Job& job, int64_t image, int64_t p) {
    const int64_t row = p + (job.offsets ? job.offsets[2 * image] : 0);
    const int64_t source = job.indices ? job.indices[image] : image;
    x = row >= 0 && row < job.h ? job.x + (source * job.h + row) * job.w * job.c : nullptr;
    column0 = job.offsets ? job.offsets[2 * image + 1] : 0;
    flipped = job.flips && job.flips[image] != 0;
    const int64_t* box = job.erased ? job.erased + 4 * image : nullptr;
    const bool erased = box && p >= box[0] && p < box[2];
    erased_begin = erased ? within(box[1], job.q) : 0;
    erased_end = erased ? within(box[3], job.q) : 0;
  }

  GPU_DEVICE static int within(int64_t column, int64_t columns) {
    return static_cast<int>(column < 0 ? 0 : column < columns ? column : columns);
  }

  GPU_DEVICE float operator()(const Job& job, int q, int c) const {
    if (q >= erased_begin && q < erased_end) return 0.0f;
    const int64_t column = column0 + (flipped ? static_cast<int>(job.q) - 1 - q : q);
    const float u = x && column >= 0 && column < job.w ? static_cast<float>(x[column * job.c + c]) : 0.0f;
    return (u / 255.0f - job.mean[c - job.first_c]) / job.std[c - job.first_c];
  }
};

GPU_DEVICE int64_t partner_of(int64_t n, int64_t count, const ImageMix& mix) {
  const int64_t partner = (n - mix.partner) % count;
  return partner < 0 ? partner + count : partner;
}

// A thread makes V consecutive elements of a row of y. V > 1: all channels, and rows of whole vectors.
template <class T, int V, bool Mixes>
__global__ void __launch_bounds__(kThreads) normalize(Job job, T* y, int64_t vectors) {
  const int64_t row_vectors = job.q * job.c / V, step = static_cast<int64_t>(gridDim.x) * kThreads;
  const ImageMix mix = Mixes ? *job.mix : ImageMix{};
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < vectors; i += step) {
    const int64_t image_row = i / row_vectors, n = image_row / job.p, p = image_row % job.p;
    // A row fits into 32 bits: wider counters cost registers, of which there are too few then.
    const int element = static_cast<int>(i % row_vectors) * V, channels = static_cast<int>(job.c);
    int q = element / channels, c = element % channels;
    if (V == 1 && (c < job.first_c || c >= job.last_c)) continue;
    const Row own(job, n, p), other(job, Mixes ? partner_of(n, job.n, mix) : n, p);
    const bool row_in_box = Mixes && p >= mix.top && p < mix.bottom;
    Floats<V> values;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float weight = row_in_box && q >= mix.left && q < mix.right ? 0.0f : mix.weight;
      float value = 0;
      if (weight != 0) value = own(job, q, c);
      if (Mixes && weight != 1) {
        const float added = (1.0f - weight) * other(job, q, c);
        value = weight == 0 ? added : fmaf(weight, value, added);
      }
      values[j] = value;
      if (++c == channels) c = 0, ++q;
    }
    store(y + i * V, values);
  }
}

__global__ void __launch_bounds__(kThreads) mix_labels(MixedTargets args) {
  const ImageMix mix = *args.mix;
  const int64_t count = args.n * args.k, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += step) {
    const int64_t n = i / args.k, k = i % args.k;
    const float own = args.labels[n] == k ? mix.target_weight : 0.0f;
    const float other = args.labels[partner_of(n, args.n, mix)] == k ? 1.0f - mix.target_weight : 0.0f;
    args.y[i] = own + other;
  }
}

}  // namespace

bool normalize_images(const NormalizeImages& args, Stream stream) {
  if (args.n < 1 || args.h < 1 || args.w < 1 || args.c < 1 || args.p < 1 || args.q < 1) return false;
  if (!args.x || !args.y || !args.mean || !args.std || args.q > INT32_MAX / args.c) return false;
  return with_type(args.type, [&](auto stored) {
    using T = decltype(stored);
    const bool vectors = args.c <= kMostChannels && args.q * args.c % kVector<T> == 0 && aligned16(args.y);
    const int64_t count = args.n * args.p * args.q * args.c / (vectors ? kVector<T> : 1);
    bool launched = true;
    for (int64_t first = 0; launched && first < args.c; first += kMostChannels) {
      const int64_t last = args.c - first < kMostChannels ? args.c : first + kMostChannels;
      Job job = {.x = args.x,
                 .indices = args.indices,
                 .offsets = args.offsets,
                 .flips = args.flips,
                 .erased = args.erased,
                 .mix = args.mix,
                 .n = args.n,
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
      constexpr int kV = kVector<T>;
      const auto kernel = args.mix ? (vectors ? normalize<T, kV, true> : normalize<T, 1, true>)
                                   : (vectors ? normalize<T, kV, false> : normalize<T, 1, false>);
      launched = gpu::launch(kernel, {.grid = blocks_for(count, kThreads), .block = kThreads, .stream = stream}, job,
                             static_cast<T*>(args.y), count);
    }
    return launched;
  });
}
Cost normalize_images_cost(const NormalizeImages& args) {
  const int64_t count = args.n * args.p * args.q * args.c;
  const int64_t images = args.mix ? 2 : 1;
  return {.bytes = count * (images + size_of(args.type)), .flops = count * (args.mix ? 9 : 3)};
}

bool mixed_targets(const MixedTargets& args, Stream stream) {
  if (args.n < 1 || args.k < 1 || !args.labels || !args.mix || !args.y) return false;
  return gpu::launch(mix_labels, {.grid = blocks_for(args.n * args.k, kThreads), .block = kThreads, .stream = stream},
                     args);
}
Cost mixed_targets_cost(const MixedTargets& args) {
  return {.bytes = args.n * (8 + 4 * args.k), .flops = args.n * args.k};
}

}  // namespace engine::kernels
