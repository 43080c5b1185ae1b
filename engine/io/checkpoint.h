#pragma once
// A checkpoint is a directory that is complete or absent:
//
//   <run_dir>/checkpoints/<name>/model.safetensors    weights with torchvision's keys; loads alone in PyTorch
//                                model_ema.safetensors  their moving average, if the run has one; loads alone, too
//                                trainer.safetensors  optimiser state
//                                state.json           step, position in the data, seed, schedule, versions
//                                MANIFEST.json        size and XXH3-128 of each of the above
//
// <name> is `last`, `best` or `step-00012345`. A directory is replaced by the protocol of atomic_directory.h, so a
// process killed or a machine switched off at any point leaves the old or the new one, and what is read back is checked
// against the sums.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"

namespace engine {

struct CheckpointContents {
  std::int64_t step = 0;
  std::vector<TensorView> model;
  std::vector<TensorView> trainer;
  std::vector<TensorView> average;  // of the weights, if there is one
  std::string state_json;
  SafetensorsMetadata metadata = default_safetensors_metadata();  // of model and average
};

// A checkpoint that was read and whose sums were right.
struct Checkpoint {
  std::filesystem::path directory;
  std::int64_t step = 0;
  SafetensorsFile model;
  SafetensorsFile trainer;
  std::optional<SafetensorsFile> average;
  std::string state_json;
};

struct NewestCheckpoint {
  std::optional<std::filesystem::path> directory;  // none: there is no valid checkpoint
  std::int64_t step = 0;
  std::vector<std::string> skipped;  // one sentence for each newer checkpoint that is damaged
};

// "step-00012345"
std::string step_checkpoint_name(std::int64_t step);

// Bytes on disk that write_checkpoint will need beside the checkpoint that it replaces.
std::uint64_t checkpoint_bytes(const CheckpointContents& contents);

// Writes or replaces <run_dir>/checkpoints/<name>; when it returns, the checkpoint survives a power loss. Throws
// Error(checkpoint) with the bytes needed and free if the disk fails; the old checkpoint then stays valid. Returns the
// directory.
std::filesystem::path write_checkpoint(const std::filesystem::path& run_dir, const std::string& name,
                                       const CheckpointContents& contents, FileOps& ops = FileOps::real());

// Makes <run_dir>/checkpoints/<to> the same checkpoint as <from>, by hard links where the file system has them (files
// of checkpoints are never written in place). As atomic as write_checkpoint.
std::filesystem::path copy_checkpoint(const std::filesystem::path& run_dir, const std::string& from,
                                      const std::string& to, FileOps& ops = FileOps::real());

// Compares every listed file with its size and sum: nothing when all is well, otherwise one sentence that names the bad
// file.
std::optional<std::string> validate_checkpoint(const std::filesystem::path& directory, FileOps& ops = FileOps::real());

// Throws Error(checkpoint) naming the bad file.
Checkpoint read_checkpoint(const std::filesystem::path& directory, FileOps& ops = FileOps::real());

// The valid checkpoint with the greatest step (clocks may jump, so times are not looked at), `last` among equals.
// An absent directory holds none. Damaged ones are passed over and reported.
NewestCheckpoint newest_valid_checkpoint(const std::filesystem::path& checkpoints_dir, FileOps& ops = FileOps::real());

// Removes a checkpoint, under the name of a temporary one first, so that an interrupted removal leaves nothing that
// looks like a checkpoint, and remove_leftovers() ends it.
void remove_checkpoint(const std::filesystem::path& directory, FileOps& ops = FileOps::real());

// Removes all but the `keep` newest `step-*` checkpoints.
void prune_step_checkpoints(const std::filesystem::path& checkpoints_dir, std::size_t keep,
                            FileOps& ops = FileOps::real());

}  // namespace engine
