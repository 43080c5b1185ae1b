#pragma once
// The loss that a configuration asks for.
#include <optional>

#include "engine/tensor.h"

namespace engine {

struct LossOptions {
  bool binary = false;  // binary_cross_entropy instead of cross_entropy (engine/ops/loss.h)
  float label_smoothing = 0;
  bool sum_classes = false;                    // of the binary one
  std::optional<float> target_threshold = {};  // of the binary one
};

// Of logits [N,K] and labels [N] or probabilities [N,K]: a scalar f32.
Tensor compute_loss(const LossOptions& options, const Tensor& logits, const Tensor& target);

}  // namespace engine
