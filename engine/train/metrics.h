#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "engine/tensor.h"

namespace engine {

// Sums over samples, so that means are right whatever the sizes of the batches were. Losses are added in double, in the
// order of the samples: the result does not depend on where a run was interrupted.
struct MetricSums {
  double loss = 0;
  int64_t correct = 0;   // the label has the highest score
  int64_t correct5 = 0;  // the label is among the five highest
  int64_t count = 0;

  void add(const MetricSums& other) {
    loss += other.loss;
    correct += other.correct;
    correct5 += other.correct5;
    count += other.count;
  }
  double mean_loss() const { return loss / static_cast<double>(count); }
  double acc1() const { return 100.0 * static_cast<double>(correct) / static_cast<double>(count); }  // percent
  double acc5() const { return 100.0 * static_cast<double>(correct5) / static_cast<double>(count); }
};

// What a network says about one sample.
struct Prediction {
  int64_t label = 0;       // the right class
  int64_t predicted = 0;   // the class with the highest score; among equal ones the first
  int64_t rank = 0;        // of the label: how many classes stand before it
  double probability = 0;  // of the predicted class
  double loss = 0;         // -log of the label's probability
};

// One prediction for each row of logits [N,K] of any float type, on any device. `labels` has N entries in [0,K).
std::vector<Prediction> predict(const Tensor& logits, std::span<const int64_t> labels);

struct ClassProbability {
  int64_t label = 0;
  double probability = 0;  // softmax
};

// The `k` most probable classes, or all if there are fewer, for each row of logits [N,K] of any float type, on any
// device; the highest first, among equal ones the first. Throws Error(diverged) if a logit is not finite.
std::vector<std::vector<ClassProbability>> top_classes(const Tensor& logits, int64_t k);

// Rows whose highest score, the first among equal ones, is the label's: the cheap part of predict().
int64_t count_correct(const Tensor& logits, std::span<const int64_t> labels);

}  // namespace engine
