// Losses with their gradients in one pass over the rows. Softmax and cross-entropy are one: the loss needs only the
// logits' maximum and the logarithm of the sum.
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

// The same for classes asked one by one. `weight` is 1, or 1/K.
template <class T>
double row_binary_loss(const T* logits, int64_t k, const float* soft, int64_t label, const BinaryTargets& targets,
                       double weight, double scale, T* dlogits) {
  const float kept = 1.0f - targets.label_smoothing, uniform = targets.label_smoothing / static_cast<float>(k);
  double loss = 0;
  for (int64_t i = 0; i < k; ++i) {
    const float target = std::fma(kept, soft ? soft[i] : (i == label ? 1.0f : 0.0f), uniform);
    const double z = kernels::to_float(logits[i]);
    const double t = !targets.threshold ? double{target} : target > *targets.threshold ? 1 : 0;
    loss += std::max(z, 0.0) - t * z + std::log1p(std::exp(-std::abs(z)));
    if (dlogits) dlogits[i] = kernels::from_float<T>(static_cast<float>((1 / (1 + std::exp(-z)) - t) * weight * scale));
  }
  return loss * weight;
}

// loss = scale * the sum of the rows' losses. row(type, i, soft, label) is one of them, with soft null where the target
// is a label.
template <class Row>
void mean_of_rows(const char* op, const Tensor& logits, const Tensor& target, const Tensor& loss, double scale,
                  const Row& row) {
  const int64_t n = logits.size(0), k = logits.size(1);
  const Buffer rows(static_cast<size_t>(n) * sizeof(double));
  const bool hard = target.dtype() == DType::i64;
  dispatch(op, logits.dtype(), [&](auto type) {
    parallel_for(
        n,
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            rows.as<double>()[i] =
                row(type, i, hard ? nullptr : target.raw<float>() + i * k, hard ? target.raw<int64_t>()[i] : 0);
        },
        n * k > 4096);
  });
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += rows.as<double>()[i];
  *loss.raw<float>() = static_cast<float>(sum * scale);
}

}  // namespace

void CpuBackend::softmax_cross_entropy(const Tensor& logits, const Tensor& target, float label_smoothing,
                                       const Tensor& loss, const Tensor& dlogits) {
  const int64_t k = logits.size(1);
  const double scale = 1.0 / static_cast<double>(logits.size(0));
  mean_of_rows("cross_entropy", logits, target, loss, scale,
               [&](auto type, int64_t i, const float* soft, int64_t label) {
                 using T = decltype(type);
                 return row_loss(logits.raw<T>() + i * k, k, soft, label, label_smoothing, scale,
                                 dlogits.defined() ? dlogits.raw<T>() + i * k : nullptr);
               });
}

void CpuBackend::binary_cross_entropy(const Tensor& logits, const Tensor& target, const BinaryTargets& targets,
                                      const Tensor& loss, const Tensor& dlogits) {
  const int64_t k = logits.size(1);
  const double scale = 1.0 / static_cast<double>(logits.size(0));
  const double weight = targets.sum_classes ? 1.0 : 1.0 / static_cast<double>(k);
  mean_of_rows("binary_cross_entropy", logits, target, loss, scale,
               [&](auto type, int64_t i, const float* soft, int64_t label) {
                 using T = decltype(type);
                 return row_binary_loss(logits.raw<T>() + i * k, k, soft, label, targets, weight, scale,
                                        dlogits.defined() ? dlogits.raw<T>() + i * k : nullptr);
               });
}

}  // namespace engine::cpu
