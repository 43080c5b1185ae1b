#pragma once
// Finding what --resume and --weights name.
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/checkpoint.h"
#include "engine/train/run_state.h"

namespace engine {

struct ResumePoint {
  std::filesystem::path run_dir;         // that the checkpoint lies in; empty if it lies in none
  std::optional<Checkpoint> checkpoint;  // none: nothing was saved yet, start afresh
  std::optional<SavedState> saved;       // of that checkpoint
  std::string config;                    // of the run that goes on, for apply_config_json(); empty if unknown
  std::vector<std::string> notes;        // what a person should know: damaged checkpoints that were passed over
};

// `resume` is "auto", which means the newest valid checkpoint of `output_dir`, the folder of a run, or that of one
// checkpoint. With `locked`, the caller holds the lock of output_dir, and
// what a killed process left half-written there is removed. Throws Error(usage) if the folder is neither, and
// Error(checkpoint) if what is there is damaged and there is nothing older to fall back to.
ResumePoint find_resume_point(const std::string& resume, const std::filesystem::path& output_dir, bool locked);

// The run folder that `resume` names, without looking into it: <run>, for <run> as well as <run>/checkpoints/<name>.
std::filesystem::path run_dir_of(const std::string& resume);

// The safetensors file that `path` names: itself, or that of a checkpoint, or that of a run's best checkpoint.
// Throws Error(checkpoint) if there is none.
std::filesystem::path find_weights(const std::filesystem::path& path);

}  // namespace engine
