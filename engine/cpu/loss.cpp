// Softmax and cross-entropy in one: the loss needs only the logits' maximum and the logarithm of the sum.
#include <algorithm>
#include <cmath>

#include "engine/cpu/allocator.h"
#include "engine/cpu/backend.h"
#include "engine/cpu/threads.h"
#include "engine/cpu/view.h"

namespace engine::cpu {
namespace {

// The row's loss. `dlogits` may be null; `scale` is 1/N.
template <class T>
double row_loss(const T* logits, int64_t k, const float* soft, int64_t label, float smoothing, double scale,
                T* dlogits) {
  float largest = kernels::to_float(logits[0]);
  for (int64_t i = 1; i < k; ++i) {
    const float z = kernels::to_float(logits[i]);
    if (z > largest || z != z) largest = z;  // a NaN must reach the loss
  }
  double sum = 0;
  for (int64_t i = 0; i < k; ++i) sum += std::exp(double{kernels::to_float(logits[i])} - largest);
  const double log_sum = largest + std::log(sum), uniform = smoothing / static_cast<double>(k);
  const auto target = [&](int64_t i) {
    const double hard = soft ? double{soft[i]} : (i == label ? 1.0 : 0.0);
    return (1.0 - smoothing) * hard + uniform;
  };
  double loss = 0, mass = 0;
  for (int64_t i = 0; i < k; ++i) {
    const double t = target(i);
    mass += t;
    if (t != 0) loss += t * (log_sum - kernels::to_float(logits[i]));
  }
  if (dlogits)
    for (int64_t i = 0; i < k; ++i) {
      const double softmax = std::exp(kernels::to_float(logits[i]) - log_sum);
      dlogits[i] = kernels::from_float<T>(static_cast<float>((softmax * mass - target(i)) * scale));
    }
  return loss;
}

}  // namespace

void CpuBackend::softmax_cross_entropy(const Tensor& logits, const Tensor& target, float label_smoothing,
                                       const Tensor& loss, const Tensor& dlogits) {
  const int64_t n = logits.size(0), k = logits.size(1);
  const double scale = 1.0 / static_cast<double>(n);
  const Buffer rows(static_cast<size_t>(n) * sizeof(double));
  dispatch("cross_entropy", logits.dtype(), [&](auto type) {
    using T = decltype(type);
    parallel_for(
        n,
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const bool hard = target.dtype() == DType::i64;
            rows.as<double>()[i] = row_loss(logits.raw<T>() + i * k, k, hard ? nullptr : target.raw<float>() + i * k,
                                            hard ? target.raw<int64_t>()[i] : 0, label_smoothing, scale,
                                            dlogits.defined() ? dlogits.raw<T>() + i * k : nullptr);
          }
        },
        n * k > 4096);
  });
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += rows.as<double>()[i];
  *loss.raw<float>() = static_cast<float>(sum * scale);
}

}  // namespace engine::cpu
