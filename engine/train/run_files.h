#pragma once
// run.json and summary.json: what a run is, and what became of it.
#include <filesystem>
#include <string>
#include <vector>

#include "engine/train/config.h"
#include "engine/train/recipe.h"
#include "engine/train/run_state.h"
#include "engine/train/trainable.h"

namespace engine {

struct RunDescription {
  TrainConfig config;  // resolved
  DataFacts data;
  std::string data_summary;  // DatasetPair::summary
  TrainableModel model;
  RunEnvironment environment;
  std::vector<std::string> command_line;
  int64_t first_step = 0;  // of this process
};

// Writes <run_dir>/run.json: the resolved configuration, versions, host, and one entry in "starts" for each process of
// the run, those of an older run.json kept if the run is resumed. Throws Error(usage) if it cannot be written.
void write_run_json(const std::filesystem::path& run_dir, const RunDescription& run, bool resumed);

// The inputs of the schedule as a JSON object, for people.
std::string schedule_json(const TrainConfig& config, const Schedule& schedule);

struct RunSummary {
  std::string model, data;
  RunState state;
  double plus_minus = 0;                             // of final_validation's accuracy: half of its 95 % interval
  std::string not_paper_comparable;                  // engine/train/accuracy.h; empty: it is
  std::optional<ValidationResult> final_validation;  // the last that was made, also in the middle of an epoch
  int64_t bad_images = 0;
  uint64_t peak_memory = 0;  // bytes of tensors and scratch in this process
  int exit_code = 0;
  std::string reason;   // "finished", "max_steps", "SIGTERM", "error"
  std::string message;  // of an error
};

std::string summary_json(const RunSummary& summary);

// Writes <run_dir>/summary.json; a disk that fails is warned of.
void write_summary_json(const std::filesystem::path& run_dir, const RunSummary& summary);

// Whether summary.json tells of this very state with exit code 0: whoever wrote it has nothing left to do. False for a
// run that was killed between its last checkpoint and its summary.
bool is_concluded(const std::filesystem::path& run_dir, const RunState& state);

std::string host_name();

}  // namespace engine
