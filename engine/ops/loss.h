#pragma once
#include <optional>

#include "engine/tensor.h"

namespace engine {

struct CrossEntropyOptions {
  float label_smoothing = 0;  // t = (1-label_smoothing)*target + label_smoothing/K (Szegedy et al. 2016, section 7)
};

// Mean over the batch of -sum_k t_k log softmax(logits)_k, as PyTorch's CrossEntropyLoss.
//   logits [N,K] of any float type (computed in f32)   target: labels [N] i64 in [0,K), or probabilities [N,K] f32
// Returns a scalar f32. Throws Error(data) if a label is out of range. Loss and gradient are computed in one pass.
Tensor cross_entropy(const Tensor& logits, const Tensor& target, CrossEntropyOptions options = {});

struct BinaryCrossEntropyOptions {
  float label_smoothing = 0;            // t = (1-label_smoothing)*target + label_smoothing/K
  std::optional<float> threshold = {};  // then t becomes 1 above it, 0 otherwise: mixed pictures show both classes
  bool sum_classes = false;             // the loss of a picture: the sum over its classes instead of their mean
};

// A yes-or-no question for each class: mean over the batch, and mean or sum over the classes, of
// -t log s(logits) - (1-t) log(1 - s(logits)), s(z) = 1/(1+exp(-z)); the loss of Wightman et al. 2021, "ResNet strikes
// back", section 3.1. Arguments, result and errors as those of cross_entropy.
Tensor binary_cross_entropy(const Tensor& logits, const Tensor& target, BinaryCrossEntropyOptions options = {});

}  // namespace engine
