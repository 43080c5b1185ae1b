#pragma once
// What a checkpoint knows beside tensors: where the run stands, and what has to be the same for it to go on. Everything
// random is a function of (seed, epoch, sample), so two integers are the whole position in the data.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/train/config.h"
#include "engine/train/loss_scaler.h"
#include "engine/train/metrics.h"
#include "engine/train/unusual.h"

namespace engine {

// Of the average of the weights.
struct AverageResult {
  double loss = 0, acc1 = 0, acc5 = 0;
};

struct ValidationResult {
  int64_t step = 0;
  int64_t epoch = 0;  // finished epochs
  double loss = 0, acc1 = 0, acc5 = 0;
  int64_t count = 0;
  double train_loss = 0, train_acc1 = 0;  // means over the epoch before
  std::optional<AverageResult> average;   // with --model-ema

  // Of the better of both.
  double best_acc1() const { return average ? std::max(acc1, average->acc1) : acc1; }
};

// Between two steps.
struct RunState {
  int64_t step = 0;                            // optimiser steps taken
  int64_t epoch = 0;                           // finished epochs
  int64_t step_in_epoch = 0;                   // of the epoch in progress; all of them: its validation is still to come
  MetricSums interval;                         // since the last line of metrics
  MetricSums epoch_sums;                       // since the epoch began
  int64_t average_updates = 0;                 // of the average of the weights, since it began
  UnusualSteps unusual;                        // spikes of loss and gradient
  std::optional<ValidationResult> best, last;  // validations at the ends of epochs
  double seconds = 0;                          // of all processes of the run together
  double train_seconds = 0;                    // spent in steps, those that were the first of a process apart
  int64_t train_images = 0;                    // in those steps
  LossScale loss_scale;                        // with --precision fp16
  int64_t steps_left_out = 0;                  // by --skip-nonfinite
};

// Names and values that decide whether a checkpoint belongs to this model and these data.
using RunIdentity = std::vector<std::pair<std::string, std::string>>;
RunIdentity run_identity(const TrainConfig& resolved, const DatasetPair& data);

// What a checkpoint was computed by; another one gives other last bits.
struct RunEnvironment {
  std::string device;   // Backend::description()
  std::string version;  // of this library
  int64_t threads = 0;
  std::string plans;  // Backend::export_plans()
};

struct SavedState {
  RunState state;
  RunIdentity identity;
  RunEnvironment environment;
  std::string config;    // config_json() of the resolved configuration
  std::string schedule;  // for people: the inputs of the schedule
};

std::string saved_state_json(const SavedState& saved);

// Throws Error(checkpoint) for anything but the text of a state.json that this version understands. `origin` names it.
SavedState parse_saved_state(std::string_view json, const std::string& origin);

// Throws Error(checkpoint) with the first keys that differ and both their values.
void check_identity(const RunIdentity& saved, const RunIdentity& current, const std::string& origin);

// One sentence for each difference that changes results without being an error: settings, threads, device, version.
std::vector<std::string> describe_changes(const SavedState& saved, const TrainConfig& config,
                                          const RunEnvironment& environment);

}  // namespace engine
