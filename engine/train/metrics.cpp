#include "engine/train/metrics.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace engine {
namespace {

std::vector<float> host_rows(const Tensor& logits, std::span<const int64_t> labels) {
  check(logits.shape().rank() == 2 && logits.size(0) == static_cast<int64_t>(labels.size()), "predict: logits ",
        logits.shape(), " for ", labels.size(), " labels, expected [N,K] with one row a label");
  return logits.detach().to(Device{}).to(DType::f32).to_vector<float>();
}

Prediction predict_row(std::span<const float> row, int64_t label) {
  Prediction result{.label = label};
  const float own = row[static_cast<size_t>(label)];
  result.predicted = std::max_element(row.begin(), row.end()) - row.begin();
  for (size_t k = 0; k < row.size(); ++k) {
    const bool first = static_cast<int64_t>(k) < label;
    if (std::isnan(own) || row[k] > own || (row[k] == own && first)) ++result.rank;  // NaN is never right
  }
  const double highest = row[static_cast<size_t>(result.predicted)];
  double sum = 0;
  for (const float score : row) sum += std::exp(score - highest);
  result.probability = 1 / sum;
  result.loss = std::log(sum) + highest - own;
  return result;
}

}  // namespace

std::vector<Prediction> predict(const Tensor& logits, std::span<const int64_t> labels) {
  const std::vector<float> values = host_rows(logits, labels);
  const auto classes = static_cast<size_t>(logits.size(1));
  std::vector<Prediction> result;
  result.reserve(labels.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    result.push_back(predict_row(std::span(values).subspan(i * classes, classes), labels[i]));
  }
  return result;
}

std::vector<std::vector<ClassProbability>> top_classes(const Tensor& logits, int64_t k) {
  check(logits.shape().rank() == 2, "top_classes: logits ", logits.shape(), ", expected [N,K]");
  const std::vector<float> values = logits.detach().to(Device{}).to(DType::f32).to_vector<float>();
  const auto classes = static_cast<size_t>(logits.size(1));
  std::vector<std::vector<ClassProbability>> result;
  for (size_t begin = 0; begin < values.size(); begin += classes) {
    const std::span<const float> row(values.data() + begin, classes);
    double sum = 0;
    const double highest = *std::max_element(row.begin(), row.end());
    std::vector<ClassProbability>& all = result.emplace_back();
    for (const float score : row) {
      if (!std::isfinite(score)) {
        fail(ErrorKind::diverged, "the network's result is not finite (", score,
             "); if its weights are, compute in --precision fp32");
      }
      const double share = std::exp(score - highest);
      sum += share;
      all.push_back({static_cast<int64_t>(all.size()), share});
    }
    const auto wanted = std::min(static_cast<size_t>(k), classes);
    std::partial_sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(wanted), all.end(),
                      [](const ClassProbability& a, const ClassProbability& b) {
                        return a.probability != b.probability ? a.probability > b.probability : a.label < b.label;
                      });
    all.resize(wanted);
    for (ClassProbability& one : all) one.probability /= sum;
  }
  return result;
}

int64_t count_correct(const Tensor& logits, std::span<const int64_t> labels) {
  const std::vector<float> values = host_rows(logits, labels);
  const auto classes = static_cast<ptrdiff_t>(logits.size(1));
  int64_t correct = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto row = values.begin() + static_cast<ptrdiff_t>(i) * classes;
    correct += std::max_element(row, row + classes) - row == labels[i];
  }
  return correct;
}

}  // namespace engine
