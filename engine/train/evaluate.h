#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/data/loader.h"
#include "engine/nn/module.h"
#include "engine/train/metrics.h"
#include "engine/train/run_state.h"
#include "engine/train/trainable.h"

namespace engine {

class Communicator;

struct Mistake {
  int64_t index = 0;  // in the data set
  Prediction prediction;
};

struct EvaluateOptions {
  InputFormat input;
  // Whose loaders share the data set: then the result is that of all, `sums` and `complete` on all of them, the rest on
  // rank 0.
  Communicator* ranks = nullptr;
  int64_t max_mistakes = 0;  // how many to keep
  // Asked between two batches with the samples seen so far; true abandons the evaluation.
  std::function<bool(int64_t samples)> interrupted;
};

struct Evaluation {
  MetricSums sums;                 // each sample once
  std::vector<int64_t> confusion;  // [K,K]: how often label k was taken for j, at k*K + j
  std::vector<Mistake> mistakes;   // those of the highest loss, highest first
  bool complete = false;           // false: interrupted
  double seconds = 0;
};

// Runs the whole data set of `loader`, which is in LoaderMode::evaluate, through the network in evaluation mode and
// puts the mode back. The result does not depend on batches or ranks but for how logits are rounded. Throws Error(data)
// if not one picture could be read.
Evaluation evaluate(const TrainableModel& model, Loader& loader, const EvaluateOptions& options);

// As a result of the run that stands at `state`, with the means over the epoch in progress, after `epoch` epochs.
ValidationResult to_result(const Evaluation& evaluation, const RunState& state, int64_t epoch);

}  // namespace engine
