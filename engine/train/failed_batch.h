#pragma once
// What a step that diverged was computed from, in one safetensors file: resnet-train --replay computes it again.
#include <filesystem>
#include <string>
#include <vector>

#include "engine/nn/module.h"
#include "engine/tensor.h"

namespace engine {

struct FailedBatch {
  Tensor images;                 // [N,H,W,3]: what went into the network, augmented, mixed and normalised
  Tensor target;                 // labels [N] i64 or probabilities [N,K] f32
  std::vector<int64_t> indices;  // samples of the training set
  int64_t step = 0;
  double lr = 0, loss_scale = 1;
  std::string reason;  // one sentence
  std::string config;  // config_json() of the run
};

// Its name in the folder of a run.
inline constexpr const char* kFailedBatchFile = "failed-batch.safetensors";
inline constexpr const char* kFailedBatchPrefix = "failed-batch";  // of that of any rank

// Writes it there, under a name with the number of the rank unless that is 0, and says what can be done with it, or why
// it could not be written: what ends the message about a step that diverged.
std::string keep_failed_batch(const std::filesystem::path& run_dir, int64_t rank, const FailedBatch& batch,
                              Module& module);

// Writes it with the parameters and buffers of `module`; images become f32. Throws Error(checkpoint).
void write_failed_batch(const std::filesystem::path& path, const FailedBatch& batch, Module& module);

class FailedBatchFile {
 public:
  // Throws Error(checkpoint) for anything but a file of write_failed_batch().
  explicit FailedBatchFile(const std::filesystem::path& path);

  const FailedBatch& batch() const { return batch_; }  // on the host
  // Overwrites the parameters and buffers of a module of the same model. Throws Error(checkpoint) if it is another.
  void load_state(Module& module) const;

 private:
  std::string origin_;
  FailedBatch batch_;
  std::vector<NamedTensor> state_;
};

}  // namespace engine
