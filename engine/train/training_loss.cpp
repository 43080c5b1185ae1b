#include "engine/train/training_loss.h"

#include "engine/ops/loss.h"

namespace engine {

Tensor compute_loss(const LossOptions& options, const Tensor& logits, const Tensor& target) {
  if (!options.binary) return cross_entropy(logits, target, {.label_smoothing = options.label_smoothing});
  return binary_cross_entropy(logits, target,
                              {.label_smoothing = options.label_smoothing,
                               .threshold = options.target_threshold,
                               .sum_classes = options.sum_classes});
}

}  // namespace engine
