// Batch normalisation, forward and backward, each two passes over the data: statistics, then values. One pass reads
// what the other has just brought into the cache wherever a group of channels fits there.
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "engine/cpu/allocator.h"
#include "engine/cpu/backend.h"
#include "engine/cpu/columns.h"
#include "engine/cpu/simd/kernels.h"
#include "engine/cpu/threads.h"
#include "engine/statistics_exchange.h"

namespace engine::cpu {
namespace {

size_t cache_bytes(int name, size_t otherwise) {
  const long bytes = sysconf(name);
  return bytes > 0 ? static_cast<size_t>(bytes) : otherwise;
}

// Blocks of channels that are taken through both passes together. `bytes` is what one block reads again in the second
// pass.
int64_t blocks_per_wave(int64_t blocks, int64_t bytes) {
  static const auto second = static_cast<int64_t>(cache_bytes(_SC_LEVEL2_CACHE_SIZE, 1 << 20));
  static const auto third = static_cast<int64_t>(cache_bytes(_SC_LEVEL3_CACHE_SIZE, 0));
  const int64_t private_room = second * num_threads() * 3 / 4, shared_room = third / 2;
  if (bytes > std::max(private_room, shared_room)) return blocks;
  return std::clamp<int64_t>(private_room / std::max<int64_t>(bytes, 1), 1, blocks);
}

void load_block(const Tensor& x, int64_t block, int lanes, float* out) {
  std::fill_n(out, 16, 0.0f);
  std::copy_n(x.raw<float>() + block * 16, lanes, out);
}

void store_block(const float* values, int64_t block, int lanes, const Tensor& x) {
  std::copy_n(values, lanes, x.raw<float>() + block * 16);
}

// Statistics of a channel from those of its columns, in the columns' order.
void merge_statistics(const float* means, const float* m2s, int64_t parts, const ChannelView& view, int lane,
                      double& mean, double& m2) {
  const Segments segments(view);
  double count = 0;
  mean = m2 = 0;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t pixel = part % segments.count * segments.pixels;
    const auto added = static_cast<double>(std::min(segments.pixels, view.pixels - pixel));
    const double total = count + added, delta = means[part * 16 + lane] - mean;
    mean += delta * (added / total);
    m2 += m2s[part * 16 + lane] + delta * delta * (count * added / total);
    count = total;
  }
}

// Two values per channel [2][blocks*16] of this rank and, behind each other, of all ranks.
class GatheredChannels {
 public:
  GatheredChannels(StatisticsExchange* exchange, int64_t blocks)
      : exchange_(exchange),
        stride_(blocks * 16),
        mine_(exchange != nullptr ? static_cast<size_t>(2 * stride_) * sizeof(float) : 0),
        all_(mine_size() * static_cast<size_t>(ranks()) * sizeof(float)) {}

  int64_t ranks() const { return exchange_ != nullptr ? exchange_->size() : 1; }
  void set(int64_t channel, double first, double second) {
    mine_.as<float>()[channel] = static_cast<float>(first);
    mine_.as<float>()[stride_ + channel] = static_cast<float>(second);
  }
  void gather() { exchange_->all_gather(Device{}, mine_.as<float>(), all_.as<float>(), mine_size()); }
  double first(int64_t rank, int64_t channel) const { return all_.as<float>()[2 * stride_ * rank + channel]; }
  double second(int64_t rank, int64_t channel) const {
    return all_.as<float>()[2 * stride_ * rank + stride_ + channel];
  }

 private:
  size_t mine_size() const { return exchange_ != nullptr ? static_cast<size_t>(2 * stride_) : 0; }

  StatisticsExchange* const exchange_;
  const int64_t stride_;
  const Buffer mine_, all_;
};

// Mean and sum of squares of a channel over all ranks, in their order; `count` values on each.
void merge_ranks(const GatheredChannels& gathered, int64_t channel, double count, double& mean, double& m2) {
  mean = m2 = 0;
  for (int64_t rank = 0; rank < gathered.ranks(); ++rank) {
    const double before = count * static_cast<double>(rank), total = before + count;
    const double delta = gathered.first(rank, channel) - mean;
    mean += delta * (count / total);
    m2 += gathered.second(rank, channel) + delta * delta * (before * count / total);
  }
}

template <class T>
void forward(const BatchNormForward& args) {
  const auto& kernel = kernels_for_this_cpu().of<T>();
  const ChannelView view = channel_view(args.x);
  const Segments segments(view);
  const T* x = args.x.raw<T>();
  const T* residual = args.residual.defined() ? args.residual.raw<T>() : nullptr;
  T* y = args.y.raw<T>();
  const bool worth_it = static_cast<int64_t>(args.x.bytes()) > kSerialBytes;
  const int64_t parts = view.images * segments.count, count = view.images * view.pixels;
  // Per block: columns' means and sums of squares, then mean, scale, shift.
  const Buffer partial(static_cast<size_t>(2 * parts * view.blocks * 16) * sizeof(float));
  const Buffer finished(static_cast<size_t>(3 * view.blocks * 16) * sizeof(float));
  float* const means = partial.as<float>();
  float* const m2s = means + parts * view.blocks * 16;
  StatisticsExchange* const exchange = args.training ? statistics_exchange() : nullptr;
  GatheredChannels gathered(exchange, view.blocks);
  const double all = static_cast<double>(count * gathered.ranks());

  const int64_t wave =
      exchange != nullptr
          ? view.blocks
          : blocks_per_wave(view.blocks, static_cast<int64_t>(args.x.bytes()) / std::max<int64_t>(view.blocks, 1));
  for (int64_t first = 0; first < view.blocks; first += wave) {
    const int64_t last = std::min(first + wave, view.blocks);
    if (args.training)
      for_each_column(view, first, last, worth_it,
                      [&](int64_t image, int64_t block, int64_t pixel, int64_t pixels, int64_t part) {
                        const int64_t at = (block * parts + part) * 16;
                        kernel.column_statistics(x + view.offset(image, block, pixel), view.column(block, pixels),
                                                 means + at, m2s + at);
                      });
    if (exchange != nullptr) {
      for (int64_t channel = 0; channel < 16 * view.blocks; ++channel) {
        const int64_t at = channel / 16 * parts * 16;
        double mean = 0, m2 = 0;
        merge_statistics(means + at, m2s + at, parts, view, static_cast<int>(channel % 16), mean, m2);
        gathered.set(channel, mean, m2);
      }
      gathered.gather();
    }
    for (int64_t block = first; block < last; ++block) {
      const int lanes = view.lanes(block);
      float* const row = finished.as<float>() + block * 48;
      float gamma[16], beta[16], running_mean[16], running_var[16], shift[16] = {}, rstd[16];
      load_block(args.gamma, block, lanes, gamma);
      load_block(args.beta, block, lanes, beta);
      load_block(args.running_mean, block, lanes, running_mean);
      load_block(args.running_var, block, lanes, running_var);
      if (args.mean_shift.defined()) load_block(args.mean_shift, block, lanes, shift);
      for (int lane = 0; lane < 16; ++lane) {
        double mean = running_mean[lane], var = running_var[lane];
        if (args.training && lane < lanes) {
          double m2 = 0;
          if (exchange != nullptr) {
            merge_ranks(gathered, block * 16 + lane, static_cast<double>(count), mean, m2);
          } else {
            merge_statistics(means + block * parts * 16, m2s + block * parts * 16, parts, view, lane, mean, m2);
          }
          var = m2 / all;
          const double unbiased = m2 / std::max(all - 1, 1.0), kept = 1.0 - double{args.momentum};
          running_mean[lane] = static_cast<float>(kept * running_mean[lane] + args.momentum * (mean + shift[lane]));
          running_var[lane] = static_cast<float>(kept * running_var[lane] + args.momentum * unbiased);
        }
        rstd[lane] = static_cast<float>(1.0 / std::sqrt(var + args.eps));
        row[lane] = static_cast<float>(mean);
        row[16 + lane] = gamma[lane] * rstd[lane];
        row[32 + lane] = beta[lane];
      }
      store_block(row, block, lanes, args.mean);
      store_block(rstd, block, lanes, args.rstd);
      if (args.training) {
        store_block(running_mean, block, lanes, args.running_mean);
        store_block(running_var, block, lanes, args.running_var);
      }
    }
    for_each_column(view, first, last, worth_it,
                    [&](int64_t image, int64_t block, int64_t pixel, int64_t pixels, int64_t) {
                      const float* row = finished.as<float>() + block * 48;
                      const int64_t at = view.offset(image, block, pixel);
                      kernel.normalise(x + at, residual ? residual + at : nullptr, y + at, view.column(block, pixels),
                                       {.mean = row, .scale = row + 16, .shift = row + 32, .relu = args.relu});
                    });
  }
}

template <class T>
void backward(const BatchNormBackward& args) {
  const auto& kernel = kernels_for_this_cpu().of<T>();
  const ChannelView view = channel_view(args.x);
  const Segments segments(view);
  const T* x = args.x.raw<T>();
  const T* dy = args.dy.raw<T>();
  const T* y = args.y.defined() ? args.y.raw<T>() : nullptr;
  T* dresidual = args.dresidual.defined() ? args.dresidual.raw<T>() : nullptr;
  T* dx = args.dx.raw<T>();
  const bool worth_it = static_cast<int64_t>(args.x.bytes()) > kSerialBytes;
  const int64_t parts = view.images * segments.count;
  const double count = static_cast<double>(view.images * view.pixels);
  const Buffer partial(static_cast<size_t>(2 * parts * view.blocks * 16) * sizeof(float));
  const Buffer finished(static_cast<size_t>(4 * view.blocks * 16) * sizeof(float));
  float* const sums_dy = partial.as<float>();
  float* const sums_dy_x = sums_dy + parts * view.blocks * 16;
  StatisticsExchange* const exchange = args.training ? statistics_exchange() : nullptr;
  GatheredChannels gathered(exchange, view.blocks);
  const double all = count * static_cast<double>(gathered.ranks());
  const auto sum_parts = [&](int64_t block, int lane, double& dy_sum, double& dy_x) {
    dy_sum = dy_x = 0;
    for (int64_t part = 0; part < parts; ++part) {
      dy_sum += sums_dy[(block * parts + part) * 16 + lane];
      dy_x += sums_dy_x[(block * parts + part) * 16 + lane];
    }
  };

  const int64_t reread =
      static_cast<int64_t>(args.x.bytes()) / std::max<int64_t>(view.blocks, 1) * (y && !dresidual ? 3 : 2);
  const int64_t wave = exchange != nullptr ? view.blocks : blocks_per_wave(view.blocks, reread);
  for (int64_t first = 0; first < view.blocks; first += wave) {
    const int64_t last = std::min(first + wave, view.blocks);
    for_each_column(
        view, first, last, worth_it, [&](int64_t image, int64_t block, int64_t pixel, int64_t pixels, int64_t part) {
          const int64_t at = view.offset(image, block, pixel), sum = (block * parts + part) * 16;
          float mean[16];
          load_block(args.mean, block, view.lanes(block), mean);
          kernel.normalise_reduce(dy + at, y ? y + at : nullptr, x + at, dresidual ? dresidual + at : nullptr,
                                  view.column(block, pixels), mean, sums_dy + sum, sums_dy_x + sum);
        });
    if (exchange != nullptr) {
      for (int64_t channel = 0; channel < 16 * view.blocks; ++channel) {
        double dy_sum = 0, dy_x = 0;
        sum_parts(channel / 16, static_cast<int>(channel % 16), dy_sum, dy_x);
        gathered.set(channel, dy_sum, dy_x);
      }
      gathered.gather();
    }
    for (int64_t block = first; block < last; ++block) {
      const int lanes = view.lanes(block);
      float* const row = finished.as<float>() + block * 64;
      float gamma[16], rstd[16], dgamma[16], dbeta[16];
      load_block(args.mean, block, lanes, row);
      load_block(args.gamma, block, lanes, gamma);
      load_block(args.rstd, block, lanes, rstd);
      for (int lane = 0; lane < 16; ++lane) {
        double dy_sum = 0, dy_x = 0;
        sum_parts(block, lane, dy_sum, dy_x);
        dgamma[lane] = static_cast<float>(dy_x * rstd[lane]);
        dbeta[lane] = static_cast<float>(dy_sum);
        if (exchange != nullptr) {
          dy_sum = dy_x = 0;
          for (int64_t rank = 0; rank < gathered.ranks(); ++rank) {
            dy_sum += gathered.first(rank, block * 16 + lane);
            dy_x += gathered.second(rank, block * 16 + lane);
          }
        }
        const double a = double{gamma[lane]} * rstd[lane], spread = double{rstd[lane]} * rstd[lane] * dy_x / all;
        row[16 + lane] = static_cast<float>(a);
        row[32 + lane] = args.training ? static_cast<float>(-a * spread) : 0.0f;
        row[48 + lane] = args.training ? static_cast<float>(-a * dy_sum / all) : 0.0f;
      }
      store_block(dgamma, block, lanes, args.dgamma);
      store_block(dbeta, block, lanes, args.dbeta);
    }
    // The masked gradient is in dresidual already if somebody asked for it.
    const T* source = dresidual ? dresidual : dy;
    const T* mask = dresidual ? nullptr : y;
    for_each_column(view, first, last, worth_it,
                    [&](int64_t image, int64_t block, int64_t pixel, int64_t pixels, int64_t) {
                      const float* row = finished.as<float>() + block * 64;
                      const int64_t at = view.offset(image, block, pixel);
                      kernel.normalise_backward(source + at, mask ? mask + at : nullptr, x + at, dx + at,
                                                view.column(block, pixels),
                                                {.mean = row, .a = row + 16, .b = row + 32, .d = row + 48});
                    });
  }
}

}  // namespace

void CpuBackend::batch_norm_forward(const BatchNormForward& args) {
  dispatch("batch_norm", args.x.dtype(), [&](auto type) { forward<decltype(type)>(args); });
}

void CpuBackend::batch_norm_backward(const BatchNormBackward& args) {
  dispatch("batch_norm_backward", args.x.dtype(), [&](auto type) { backward<decltype(type)>(args); });
}

}  // namespace engine::cpu
