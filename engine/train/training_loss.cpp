#include "engine/train/training_loss.h"

#include "engine/ops/loss.h"

namespace engine {

Tensor compute_loss(const LossOptions& options, const Tensor& given, const Tensor& target) {
  // In f16 the gradient of a loss would vanish or overflow before it is scaled.
  const Tensor logits = given.dtype() == DType::f16 ? given.to(DType::f32) : given;
  if (!options.binary) return cross_entropy(logits, target, {.label_smoothing = options.label_smoothing});
  return binary_cross_entropy(logits, target,
                              {.label_smoothing = options.label_smoothing,
                               .threshold = options.target_threshold,
                               .sum_classes = options.sum_classes});
}

}  // namespace engine
