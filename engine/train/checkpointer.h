#pragma once
// The checkpoints of one run: `last`, `best` and, on request, some older ones.
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include "engine/io/safetensors.h"
#include "engine/nn/module.h"
#include "engine/optim/optimizer.h"
#include "engine/train/run_state.h"

namespace engine {

struct CheckpointerOptions {
  int64_t keep_older = 0;                                         // step-* checkpoints beside `last`
  uint64_t min_free = 0;                                          // bytes of the disk that a checkpoint must leave free
  SafetensorsMetadata metadata = default_safetensors_metadata();  // of the weights
};

class Checkpointer {
 public:
  Checkpointer(std::filesystem::path run_dir, CheckpointerOptions options)
      : run_dir_(std::move(run_dir)), options_(std::move(options)) {}

  // Writes `last`. Throws Error(diverged), and writes nothing, if a tensor is not finite. A disk that fails is warned
  // of, and the training goes on; throws Error(checkpoint) at the third failure in a row, or at once if `required`.
  // `average` is the network of the averaged weights, if there is one.
  bool save(Module& module, const Optimizer& optimizer, const SavedState& saved, bool required = false,
            Module* average = nullptr);

  // Makes `best` the checkpoint that `last` is now.
  void mark_best();

 private:
  template <class Write>
  bool attempt(const Write& write, bool required);

  std::filesystem::path run_dir_;
  CheckpointerOptions options_;
  int failures_ = 0;
};

// Throws Error(diverged) with the first of these tensors that holds infinity or NaN, unless they are `allowed`.
// `origin` is where they come from.
void check_finite(const std::vector<NamedTensor>& state, const std::string& origin, bool allowed);

// Bytes that one checkpoint of this module will take, with what the optimiser keeps and an average of the weights if
// the configuration has them.
uint64_t estimate_checkpoint_bytes(Module& module, const TrainConfig& config);

}  // namespace engine
