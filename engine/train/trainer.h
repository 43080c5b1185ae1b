#pragma once
// The training of a network from a resolved configuration, with everything that a run leaves in its folder.
//
//   <run_dir>/run.json        configuration, versions, command lines      engine/train/run_files.h
//            /metrics.jsonl   one line each print_freq steps and epoch     engine/train/run_log.h
//            /summary.json    the outcome, also of a failure
//            /tb/             TensorBoard events
//            /checkpoints/    last, best                                   engine/io/checkpoint.h
//            /report.html     curves, confusion matrix, worst mistakes     engine/train/report.h
//
// Whatever stops a run and whenever (a signal, max_steps, kill -9, a power cut): resumed from its checkpoint it
// computes the same bits as if it had not been stopped, with any number of workers, at the same number of threads and
// on the same kind of processor.
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/train/config.h"
#include "engine/train/recipe.h"
#include "engine/train/resume.h"
#include "engine/train/train_step.h"
#include "engine/train/trainable.h"

namespace engine {

inline constexpr int kExitStopped = 75;  // EX_TEMPFAIL: stopped by a signal, state saved, run again to go on

class Communicator;
struct RankLinks;

struct TrainSetup {
  TrainConfig config;  // resolved
  DataFacts facts;
  DatasetPair data;
  TrainableModel model;                   // on `device`, with its initial weights
  std::optional<TrainableModel> average;  // with --model-ema: another such network, for the average of the weights
  Device device;
  std::filesystem::path run_dir;  // exists, can be written to, locked by the caller
  ResumePoint resume;             // with a checkpoint: goes on from there
  std::vector<std::string> command_line;
  Communicator* ranks = nullptr;  // of several: only rank 0 uses run_dir
};

int64_t rank_of(const TrainSetup& setup);  // 0 if there is one only
StepOptions step_options(const TrainSetup& setup, const RankLinks* links = nullptr);

struct TrainOutcome {
  int exit_code = 0;
  std::string reason;  // "finished", "max_steps", "already finished", or the signal's name
  std::optional<double> best_val_acc1, final_val_acc1;
  int64_t epochs = 0;                    // finished
  std::optional<double> final_ema_acc1;  // of the averaged weights
  double plus_minus = 0;                 // of final_val_acc1: half of its 95 % interval
  std::string not_comparable;            // engine/train/accuracy.h
};

// Throws Error: checkpoint (the state to resume is another run's; the disk failed three times in a row), data,
// diverged, memory. summary.json then tells of it. Call catch_stop_signals() before.
TrainOutcome train(const TrainSetup& setup);

struct TestOutcome {
  int64_t samples = 0, skipped = 0;
  double acc1 = 0, acc5 = 0, loss = 0, seconds = 0;
  bool complete = false;  // false: stopped by a signal
};

// Evaluates on the validation part; `setup.run_dir` and `setup.resume` are not used.
TestOutcome test(const TrainSetup& setup);

}  // namespace engine
