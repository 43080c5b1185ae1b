#pragma once
#include "engine/tensor.h"

namespace engine {

struct CrossEntropyOptions {
  float label_smoothing = 0;  // t = (1-label_smoothing)*target + label_smoothing/K (Szegedy et al. 2016, section 7)
};

// Mean over the batch of -sum_k t_k log softmax(logits)_k, as PyTorch's CrossEntropyLoss.
//   logits [N,K] of any float type (computed in f32)   target: labels [N] i64 in [0,K), or probabilities [N,K] f32
// Returns a scalar f32. Throws Error(data) if a label is out of range. Loss and gradient are computed in one pass.
Tensor cross_entropy(const Tensor& logits, const Tensor& target, CrossEntropyOptions options = {});

}  // namespace engine
