// Bytes to the network's input. A byte has 256 values: each channel's results are looked up.
#include <algorithm>
#include <vector>

#include "engine/cpu/backend.h"
#include "engine/cpu/threads.h"
#include "engine/cpu/view.h"
#include "engine/ops/images.h"
#include "kernels/images.h"

namespace engine::cpu {
namespace {

using kernels::ImageMix;

int64_t partner_of(int64_t n, int64_t count, const ImageMix& mix) {
  const int64_t partner = (n - mix.partner) % count;
  return partner < 0 ? partner + count : partner;
}

template <class T>
const T* pointer_or_null(const Tensor& x) {
  return x.defined() ? x.raw<T>() : nullptr;
}

// The rows of a batch of which something is decided.
class ChosenRows {
 public:
  ChosenRows(const Tensor& x, const std::vector<float>& table, const ImageChoices& choices, const Tensor& y)
      : x_(x.raw<uint8_t>()),
        h_(x.size(1)),
        w_(x.size(2)),
        n_(y.size(0)),
        q_(y.size(2)),
        c_(y.size(3)),
        table_(table),
        indices_(pointer_or_null<int64_t>(choices.indices)),
        offsets_(pointer_or_null<int64_t>(choices.offsets)),
        flips_(pointer_or_null<uint8_t>(choices.flips)),
        erased_(pointer_or_null<int64_t>(choices.erased)) {
    if (choices.mix.defined()) mix_ = *choices.mix.raw<ImageMix>();
  }

  // Row p of image n; `own` and `other` have room for one row.
  template <class T>
  void write(int64_t n, int64_t p, float* own, float* other, T* out) const {
    normalize(n, p, own);
    const bool in_box = p >= mix_.top && p < mix_.bottom && mix_.left < mix_.right;
    if (in_box || mix_.weight != 1) {
      normalize(partner_of(n, n_, mix_), p, other);
      for (int64_t q = 0; q < q_; ++q) {
        const float weight = in_box && q >= mix_.left && q < mix_.right ? 0.0f : mix_.weight;
        if (weight == 1) continue;
        for (int64_t i = q * c_; i < (q + 1) * c_; ++i) {
          const float added = (1.0f - weight) * other[i];
          own[i] = weight == 0 ? added : weight * own[i] + added;
        }
      }
    }
    for (int64_t i = 0; i < q_ * c_; ++i) out[i] = kernels::from_float<T>(own[i]);
  }

 private:
  void normalize(int64_t n, int64_t p, float* row) const {
    const int64_t source_row = p + (offsets_ ? offsets_[2 * n] : 0), column0 = offsets_ ? offsets_[2 * n + 1] : 0;
    const bool inside = source_row >= 0 && source_row < h_, flipped = flips_ && flips_[n] != 0;
    const uint8_t* from = inside ? x_ + ((indices_ ? indices_[n] : n) * h_ + source_row) * w_ * c_ : nullptr;
    for (int64_t q = 0; q < q_; ++q) {
      const int64_t column = column0 + (flipped ? q_ - 1 - q : q);
      const uint8_t* pixel = inside && column >= 0 && column < w_ ? from + column * c_ : nullptr;
      for (int64_t c = 0; c < c_; ++c) row[q * c_ + c] = table_[static_cast<size_t>(c * 256 + (pixel ? pixel[c] : 0))];
    }
    if (!erased_ || p < erased_[4 * n] || p >= erased_[4 * n + 2]) return;
    const int64_t left = std::clamp<int64_t>(erased_[4 * n + 1], 0, q_);
    const int64_t right = std::clamp<int64_t>(erased_[4 * n + 3], left, q_);
    std::fill(row + left * c_, row + right * c_, 0.0f);
  }

  const uint8_t* x_;
  int64_t h_, w_;                    // of the images
  int64_t n_, q_, c_;                // of the results
  const std::vector<float>& table_;  // [C,256]
  const int64_t *indices_, *offsets_;
  const uint8_t* flips_;
  const int64_t* erased_;
  ImageMix mix_;
};

}  // namespace

void CpuBackend::normalize_images(const Tensor& x, std::span<const float> mean, std::span<const float> std,
                                  const ImageChoices& choices, const Tensor& y) {
  if (layout_of(y) != Layout::nhwc) {
    const Tensor plain = make_tensor(y.shape(), y.dtype(), y.device());
    normalize_images(x, mean, std, choices, plain);
    return convert(plain, y);
  }
  const int64_t c = x.size(x.shape().rank() - 1), pixels = x.numel() / std::max<int64_t>(c, 1);
  std::vector<float> table(static_cast<size_t>(c) * 256);
  for (size_t channel = 0; channel < static_cast<size_t>(c); ++channel)
    for (size_t v = 0; v < 256; ++v)
      table[channel * 256 + v] = (static_cast<float>(v) / 255.0f - mean[channel]) / std[channel];
  const bool parallel = static_cast<int64_t>(y.bytes()) > kSerialBytes;
  const auto write = [&](auto type) {
    using T = decltype(type);
    T* to = y.raw<T>();
    if (choices.indices.defined() || choices.offsets.defined() || choices.flips.defined() || choices.erased.defined() ||
        choices.mix.defined()) {
      const ChosenRows rows(x, table, choices, y);
      const int64_t h = y.size(1), row = y.size(2) * c;
      return parallel_for(
          y.size(0) * h,
          [&](int64_t begin, int64_t end) {
            std::vector<float> scratch(static_cast<size_t>(2 * row));
            for (int64_t i = begin; i < end; ++i)
              rows.write(i / h, i % h, scratch.data(), scratch.data() + row, to + i * row);
          },
          parallel);
    }
    std::vector<T> rounded(table.size());
    for (size_t i = 0; i < table.size(); ++i) rounded[i] = kernels::from_float<T>(table[i]);
    const uint8_t* from = x.raw<uint8_t>();
    parallel_for(
        pixels,
        [&](int64_t begin, int64_t end) {
          for (int64_t pixel = begin; pixel < end; ++pixel)
            for (int64_t channel = 0; channel < c; ++channel)
              to[pixel * c + channel] = rounded[static_cast<size_t>(channel * 256 + from[pixel * c + channel])];
        },
        parallel);
  };
  if (y.dtype() == DType::f16) return write(f16{});
  dispatch("normalize_images", y.dtype(), write);
}

void CpuBackend::mixed_targets(const Tensor& labels, const Tensor& mix, const Tensor& targets) {
  const ImageMix choice = *mix.raw<ImageMix>();
  const int64_t n = targets.size(0), k = targets.size(1);
  const int64_t* label = labels.raw<int64_t>();
  float* y = targets.raw<float>();
  std::fill(y, y + n * k, 0.0f);
  const auto add = [&](int64_t row, int64_t to, float weight) {
    if (to >= 0 && to < k) y[row * k + to] += weight;
  };
  for (int64_t i = 0; i < n; ++i) {
    add(i, label[i], choice.target_weight);
    add(i, label[partner_of(i, n, choice)], 1.0f - choice.target_weight);
  }
}

}  // namespace engine::cpu
