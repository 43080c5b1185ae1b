#include "engine/train/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

#include "engine/autograd.h"
#include "engine/data/batch_tensors.h"
#include "engine/dist/communicator.h"
#include "engine/error.h"

namespace engine {
namespace {

// Evaluation mode while it lives.
class EvaluationMode {
 public:
  explicit EvaluationMode(Module& module) : module_(module), training_(module.training()) { module_.eval(); }
  ~EvaluationMode() { module_.train(training_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  Module& module_;
  const bool training_;
};

// Of equal losses the sample with the lower index is the worse, so that the list does not depend on batches.
bool is_worse(const Mistake& a, const Mistake& b) {
  return a.prediction.loss != b.prediction.loss ? a.prediction.loss > b.prediction.loss : a.index < b.index;
}

void keep_worst(std::vector<Mistake>& mistakes, int64_t max_mistakes) {
  std::sort(mistakes.begin(), mistakes.end(), is_worse);
  if (static_cast<int64_t>(mistakes.size()) > max_mistakes) mistakes.resize(static_cast<size_t>(max_mistakes));
}

// On rank 0 every rank's predictions, in the order of the data set. `stopped`: this rank was interrupted, or,
// afterwards on rank 0, any was.
std::vector<Mistake> gather(Communicator& ranks, const std::vector<Mistake>& mine, bool& stopped) {
  static_assert(std::is_trivially_copyable_v<Mistake>);
  std::string bytes(mine.size() * sizeof(Mistake), '\0');
  if (!mine.empty()) std::memcpy(bytes.data(), mine.data(), bytes.size());
  if (stopped) bytes = "stopped";
  std::vector<Mistake> all;
  for (const std::string& text : ranks.gather(bytes)) {
    if (text == "stopped") {
      stopped = true;
      return {};
    }
    const size_t before = all.size();
    all.resize(before + text.size() / sizeof(Mistake));
    if (!text.empty()) std::memcpy(all.data() + before, text.data(), text.size());
  }
  std::sort(all.begin(), all.end(), [](const Mistake& a, const Mistake& b) { return a.index < b.index; });
  for (size_t i = 1; i < all.size(); ++i)
    if (all[i].index == all[i - 1].index)
      fail(ErrorKind::internal, "evaluation: two ranks have evaluated sample ", all[i].index);
  return all;
}

// Sums, and whether the evaluation was stopped, as rank 0 has them.
MetricSums from_first(Communicator& ranks, const MetricSums& sums, bool& stopped) {
  static_assert(std::is_trivially_copyable_v<MetricSums>);
  std::string bytes(sizeof sums, '\0');
  std::memcpy(bytes.data(), &sums, sizeof sums);
  bytes = ranks.broadcast(bytes + (stopped ? '1' : '0'));
  stopped = bytes.back() == '1';
  MetricSums result;
  std::memcpy(&result, bytes.data(), sizeof result);
  return result;
}

}  // namespace

Evaluation evaluate(const TrainableModel& model, Loader& loader, const EvaluateOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const NoGrad no_grad;
  const EvaluationMode mode(*model.module);
  const auto classes = static_cast<size_t>(model.num_classes);
  Evaluation result;
  result.confusion.assign(classes * classes, 0);

  const auto add = [&](const Mistake& sample) {
    const Prediction& prediction = sample.prediction;
    result.sums.add(
        {.loss = prediction.loss, .correct = prediction.rank == 0, .correct5 = prediction.rank < 5, .count = 1});
    ++result.confusion[static_cast<size_t>(prediction.label) * classes + static_cast<size_t>(prediction.predicted)];
    if (prediction.rank != 0) result.mistakes.push_back(sample);
  };
  std::vector<Mistake> own;  // of several ranks, this one's
  Batch batch;
  bool stopped = false;
  loader.start(0);
  while (!stopped && loader.next(batch)) {
    const std::vector<Prediction> predictions =
        predict(model.forward(image_tensor(batch, options.input.normalization, options.input.tensor())), batch.labels);
    for (size_t i = 0; i < predictions.size(); ++i) {
      const Mistake sample = {batch.indices[i], predictions[i]};
      if (options.ranks != nullptr)
        own.push_back(sample);
      else
        add(sample);
    }
    keep_worst(result.mistakes, options.max_mistakes);
    const int64_t seen =
        result.sums.count + static_cast<int64_t>(own.size()) * (options.ranks ? options.ranks->size() : 0);
    stopped = options.interrupted && options.interrupted(seen);
  }
  if (options.ranks != nullptr) {
    for (const Mistake& sample : gather(*options.ranks, own, stopped)) add(sample);
    result.sums = from_first(*options.ranks, result.sums, stopped);
    keep_worst(result.mistakes, options.max_mistakes);
  }
  if (!stopped && result.sums.count == 0) fail(ErrorKind::data, "evaluation: not one picture could be read");
  result.complete = !stopped;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

ValidationResult to_result(const Evaluation& evaluation, const RunState& state, int64_t epoch) {
  ValidationResult result{.step = state.step,
                          .epoch = epoch,
                          .loss = evaluation.sums.mean_loss(),
                          .acc1 = evaluation.sums.acc1(),
                          .acc5 = evaluation.sums.acc5(),
                          .count = evaluation.sums.count};
  if (state.epoch_sums.count > 0) {
    result.train_loss = state.epoch_sums.mean_loss();
    result.train_acc1 = state.epoch_sums.acc1();
  }
  return result;
}

}  // namespace engine
