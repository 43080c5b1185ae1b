#pragma once
// Losses of a classifier with their gradients, each in one pass. Softmax and cross-entropy are one: the loss needs only
// each row's maximum and the logarithm of its sum.
#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

// loss = 1/N sum_n -sum_k t[n,k] log softmax(logits)[n,k],  t = (1-label_smoothing) * target + label_smoothing / K
// dlogits[n,k] = (softmax(logits)[n,k] * sum_j t[n,j] - t[n,k]) / N
// logits and dlogits [N,K] of `type`; the target is labels [N] or probabilities [N,K]. A label outside of [0,K) counts
// as an all-zero target; whoever calls has checked. Loss and gradient come from one pass over the logits; the losses of
// the rows are added in a second, small launch in a fixed order. Exponentials and sums are f32. Moves: logits,
// probabilities and dlogits once (rows longer than the caches are read again). Needs: exactly one of labels and
// probabilities; workspace of softmax_cross_entropy_workspace(n) bytes, aligned to 4, which may hold anything; dlogits
// == logits is allowed.
struct SoftmaxCrossEntropy {
  int64_t n = 0, k = 0;
  DataType type = DataType::f32;
  const void* logits = nullptr;
  const int64_t* labels = nullptr;
  const float* probabilities = nullptr;
  float label_smoothing = 0;
  float* loss = nullptr;    // one number
  void* dlogits = nullptr;  // optional
  void* workspace = nullptr;
};
bool softmax_cross_entropy(const SoftmaxCrossEntropy& args, Stream stream);
size_t softmax_cross_entropy_workspace(int64_t n);
Cost softmax_cross_entropy_cost(const SoftmaxCrossEntropy& args);

// loss = 1/N sum_n w sum_k max(z,0) - t z + log(1 + exp(-|z|)),  z = logits[n,k],  w = 1 if sum_classes, else 1/K
// dlogits[n,k] = w / N (1 / (1 + exp(-z)) - t)
// t = (1-label_smoothing) * target + label_smoothing / K; with `binary`, 1 where that is above the threshold, else 0.
// Passes, moves, needs, labels out of range and aliasing as above; workspace of softmax_cross_entropy_workspace(n)
// bytes.
struct BinaryCrossEntropy {
  int64_t n = 0, k = 0;
  DataType type = DataType::f32;
  const void* logits = nullptr;
  const int64_t* labels = nullptr;
  const float* probabilities = nullptr;
  float label_smoothing = 0;
  bool binary = false;
  float threshold = 0;
  bool sum_classes = false;
  float* loss = nullptr;
  void* dlogits = nullptr;  // optional
  void* workspace = nullptr;
};
bool binary_cross_entropy(const BinaryCrossEntropy& args, Stream stream);
Cost binary_cross_entropy_cost(const BinaryCrossEntropy& args);

}  // namespace engine::kernels
