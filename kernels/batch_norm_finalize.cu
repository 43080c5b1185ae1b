// The parts of the rows merged into per-channel results, forward and backward.
#include "kernels/batch_norm.h"
#include "kernels/vector.h"

namespace engine::kernels {
namespace {

// A block merges the parts of kChannels channels: 32 threads for each, side by side in memory by channels.
constexpr int kChannels = 8;
constexpr int kMergers = kThreads / kChannels;
// More parts than that are first merged in groups, by a launch of their own, in place.
constexpr int64_t kMostParts = 1024;
constexpr int64_t kGroup = 64;

// Two sums of doubles over the kMergers threads of a channel, valid in the first of them.
GPU_DEVICE double2 add_mergers(double2 sums, double* shared) {
  shared[threadIdx.x] = sums.x;
  shared[kThreads + threadIdx.x] = sums.y;
  for (int half = kThreads / 2; half >= kChannels; half /= 2) {
    __syncthreads();  // the level above has been written
    if (static_cast<int>(threadIdx.x) < half) {
      shared[threadIdx.x] += shared[threadIdx.x + half];
      shared[kThreads + threadIdx.x] += shared[kThreads + threadIdx.x + half];
    }
  }
  return {shared[threadIdx.x], shared[kThreads + threadIdx.x]};
}

// Where the parts are: `count` of them, each `stride` parts of memory from the next.
struct Parts {
  float* data;
  int64_t count, stride, rows_per_part, rows;
};

// Mean and M2 of parts [first, last) of channel c; relative to the first part's mean, so that nothing cancels.
GPU_DEVICE double2 merge_statistics(const Parts& parts, int64_t first, int64_t last, int64_t c, int64_t channels,
                                    double* shared) {
  const int64_t pitch = 2 * channels * parts.stride;
  const int64_t rows = min(last * parts.rows_per_part, parts.rows) - first * parts.rows_per_part;
  const double origin = c < channels ? static_cast<double>(parts.data[first * pitch + c]) : 0.0;
  double2 sums = {0, 0};
  if (c < channels)
    for (int64_t part = first + threadIdx.x / kChannels; part < last; part += kMergers) {
      const double n = static_cast<double>(min(parts.rows_per_part, parts.rows - part * parts.rows_per_part));
      const double d = static_cast<double>(parts.data[part * pitch + c]) - origin;
      sums.x += n * d;
      sums.y += static_cast<double>(parts.data[part * pitch + channels + c]) + n * d * d;
    }
  sums = add_mergers(sums, shared);
  const double d = sums.x / static_cast<double>(rows);
  return {origin + d, sums.y - d * sums.x};
}

GPU_DEVICE double2 merge_sums(const Parts& parts, int64_t first, int64_t last, int64_t c, int64_t channels,
                              double* shared) {
  const int64_t pitch = 2 * channels * parts.stride;
  double2 sums = {0, 0};
  if (c < channels)
    for (int64_t part = first + threadIdx.x / kChannels; part < last; part += kMergers) {
      sums.x += static_cast<double>(parts.data[part * pitch + c]);
      sums.y += static_cast<double>(parts.data[part * pitch + channels + c]);
    }
  return add_mergers(sums, shared);
}

GPU_DEVICE int64_t merged_channel() {
  return static_cast<int64_t>(blockIdx.x) * kChannels + threadIdx.x % kChannels;
}

// Merges groups of parts; the first part of a group gets the result.
template <bool kStatistics>
__global__ void __launch_bounds__(kThreads) merge_groups(Parts parts, int64_t group, int64_t channels) {
  GPU_SHARED(double, shared, 2 * kThreads);
  const int64_t c = merged_channel(), first = blockIdx.y * group, last = min(first + group, parts.count);
  const double2 merged = kStatistics ? merge_statistics(parts, first, last, c, channels, shared)
                                     : merge_sums(parts, first, last, c, channels, shared);
  if (threadIdx.x >= kChannels || c >= channels) return;
  // Only this block reads the group, and all of its threads have passed a barrier since.
  float* const to = parts.data + 2 * channels * parts.stride * first + c;
  to[0] = static_cast<float>(merged.x);
  to[channels] = static_cast<float>(merged.y);
}

struct Forward {
  const float *gamma, *beta, *mean_shift;
  float momentum, eps;
  float *running_mean, *running_var, *mean, *rstd, *scale, *shift;
};

__global__ void __launch_bounds__(kThreads) finalize(Parts parts, int64_t channels, Forward f) {
  GPU_SHARED(double, shared, 2 * kThreads);
  const int64_t c = merged_channel();
  const double2 merged = parts.count > 0 ? merge_statistics(parts, 0, parts.count, c, channels, shared) : double2{0, 0};
  if (threadIdx.x >= kChannels || c >= channels) return;
  double mean = merged.x, var = merged.y / static_cast<double>(max(parts.rows, int64_t{1}));
  if (parts.count == 0) {
    mean = static_cast<double>(f.running_mean[c]);
    var = static_cast<double>(f.running_var[c]);
  } else {
    const double m = static_cast<double>(f.momentum);
    const double unbiased = merged.y / static_cast<double>(max(parts.rows - 1, int64_t{1}));
    const double shift = f.mean_shift ? static_cast<double>(f.mean_shift[c]) : 0.0;
    if (f.running_mean)
      f.running_mean[c] = static_cast<float>((1.0 - m) * static_cast<double>(f.running_mean[c]) + m * (mean + shift));
    if (f.running_var)
      f.running_var[c] = static_cast<float>((1.0 - m) * static_cast<double>(f.running_var[c]) + m * unbiased);
  }
  const double rstd = 1.0 / sqrt(var + static_cast<double>(f.eps));
  const double scale = static_cast<double>(f.gamma[c]) * rstd;
  if (f.mean) f.mean[c] = static_cast<float>(mean);
  f.rstd[c] = static_cast<float>(rstd);
  f.scale[c] = static_cast<float>(scale);
  f.shift[c] = static_cast<float>(static_cast<double>(f.beta[c]) - mean * scale);
}

struct Backward {
  const float *gamma, *rstd;
  bool training;
  float *dgamma, *dbeta, *a, *b, *c;
};

__global__ void __launch_bounds__(kThreads) finalize_backward(Parts parts, int64_t channels, int64_t rows, Backward f) {
  GPU_SHARED(double, shared, 2 * kThreads);
  const int64_t channel = merged_channel();
  const double2 merged = merge_sums(parts, 0, parts.count, channel, channels, shared);
  if (threadIdx.x >= kChannels || channel >= channels) return;
  const double rstd = static_cast<double>(f.rstd[channel]), dgamma = merged.y * rstd;
  if (f.dgamma) f.dgamma[channel] = static_cast<float>(dgamma);
  if (f.dbeta) f.dbeta[channel] = static_cast<float>(merged.x);
  if (!f.a) return;
  const double a = static_cast<double>(f.gamma[channel]) * rstd, each = a / static_cast<double>(rows);
  f.a[channel] = static_cast<float>(a);
  f.b[channel] = f.training ? static_cast<float>(-each * rstd * dgamma) : 0.0f;
  f.c[channel] = f.training ? static_cast<float>(-each * merged.x) : 0.0f;
}

unsigned blocks_of(int64_t channels) {
  return static_cast<unsigned>((channels + kChannels - 1) / kChannels);
}

// False if a launch failed. Leaves at most kMostParts parts.
template <bool kStatistics>
bool merge_in_groups(Parts& parts, int64_t channels, Stream stream) {
  if (parts.count <= kMostParts) return true;
  const int64_t groups = (parts.count + kGroup - 1) / kGroup;
  const bool launched =
      gpu::launch(merge_groups<kStatistics>,
                  {.grid = {blocks_of(channels), static_cast<unsigned>(groups)}, .block = kThreads, .stream = stream},
                  parts, kGroup, channels);
  parts = {parts.data, groups, kGroup, parts.rows_per_part * kGroup, parts.rows};
  return launched;
}

// The groups are the second dimension of a grid.
constexpr int64_t kPartsLimit = 65535 * kGroup;

bool valid(const float* partials, const RowParts& parts) {
  return partials && parts.parts >= 1 && parts.parts <= kPartsLimit;
}

bool cover(const RowParts& parts, int64_t rows) {
  return rows >= 1 && (parts.parts - 1) * parts.rows_per_part < rows && parts.parts * parts.rows_per_part >= rows;
}

template <bool kStatistics>
bool merge_all(Parts parts, int64_t channels, Stream stream) {
  return merge_in_groups<kStatistics>(parts, channels, stream) &&
         gpu::launch(merge_groups<kStatistics>, {.grid = blocks_of(channels), .block = kThreads, .stream = stream},
                     parts, parts.count, channels);
}

}  // namespace

bool batch_norm_merge(const BatchNormMerge& args, Stream stream) {
  if (args.channels < 1 || args.rows < 1 || !valid(args.partials, args.parts)) return false;
  if (!args.sums && !cover(args.parts, args.rows)) return false;
  const Parts parts = {args.partials, args.parts.parts, 1, args.parts.rows_per_part, args.rows};
  return args.sums ? merge_all<false>(parts, args.channels, stream) : merge_all<true>(parts, args.channels, stream);
}
Cost batch_norm_merge_cost(const BatchNormMerge& args) {
  const int64_t partials = 2 * args.parts.parts * args.channels;
  return {.bytes = 4 * (partials + 2 * args.channels), .flops = args.sums ? partials : 3 * partials};
}

bool batch_norm_finalize(const BatchNormFinalize& args, Stream stream) {
  if (args.channels < 1 || !args.gamma || !args.beta || !args.rstd || !args.scale || !args.shift) return false;
  const bool training = args.partials != nullptr;
  if (training && (!valid(args.partials, args.parts) || !cover(args.parts, args.rows))) return false;
  if (!training && (!args.running_mean || !args.running_var)) return false;
  Parts parts = {args.partials, training ? args.parts.parts : 0, 1, args.parts.rows_per_part, args.rows};
  const Forward forward = {args.gamma,       args.beta, args.mean_shift, args.momentum, args.eps,  args.running_mean,
                           args.running_var, args.mean, args.rstd,       args.scale,    args.shift};
  return merge_in_groups<true>(parts, args.channels, stream) &&
         gpu::launch(finalize, {.grid = blocks_of(args.channels), .block = kThreads, .stream = stream}, parts,
                     args.channels, forward);
}
Cost batch_norm_finalize_cost(const BatchNormFinalize& args) {
  const int64_t partials = args.partials ? 2 * args.parts.parts * args.channels : 0;
  return {.bytes = 4 * (partials + 10 * args.channels), .flops = 3 * partials};
}

bool batch_norm_backward_finalize(const BatchNormBackwardFinalize& args, Stream stream) {
  if (args.channels < 1 || args.rows < 1 || !valid(args.partials, args.parts)) return false;
  if (!args.gamma || !args.rstd || !args.a != !args.b || !args.a != !args.c) return false;
  Parts parts = {args.partials, args.parts.parts, 1, args.parts.rows_per_part, args.rows};
  const Backward backward = {args.gamma, args.rstd, args.training, args.dgamma, args.dbeta, args.a, args.b, args.c};
  return merge_in_groups<false>(parts, args.channels, stream) &&
         gpu::launch(finalize_backward, {.grid = blocks_of(args.channels), .block = kThreads, .stream = stream}, parts,
                     args.channels, args.rows, backward);
}
Cost batch_norm_backward_finalize_cost(const BatchNormBackwardFinalize& args) {
  const int64_t partials = 2 * args.parts.parts * args.channels;
  return {.bytes = 4 * (partials + 7 * args.channels), .flops = partials};
}

}  // namespace engine::kernels
