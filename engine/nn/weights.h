#pragma once
// Weights and optimiser state in files: torchvision's names, and PyTorch's order of axes whatever the engine's own is.
// A tensor with four axes is a filter: [K,R,S,C/groups] here, [K,C/groups,R,S] (OIHW) in the file.
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/dtype.h"
#include "engine/io/safetensors.h"
#include "engine/nn/module.h"

namespace engine {

struct LoadOptions {
  // Load what fits and leave the rest as it is, say for another number of classes. Otherwise names and shapes have to
  // agree exactly, as PyTorch's load_state_dict(strict=True).
  bool partial = false;
};

// What a partial load left out; all empty after a strict one.
struct LoadReport {
  std::size_t loaded = 0;
  std::vector<std::string> missing;     // in the module, not in the file
  std::vector<std::string> unexpected;  // in the file, not in the module
  std::vector<std::string> misshapen;   // in both with different shapes: "fc.weight [10,512], expected [1000,512]"
};

// What was left out, one clause for each kind of difference with its first names; "" for nothing.
std::string describe(const LoadReport& report);

// Overwrites the parameters and buffers of `module`. f32 is taken bit by bit, bf16 and f16 are widened to f32,
// num_batches_tracked is an i64 without axes. Throws Error(checkpoint), before anything is overwritten, with the file
// and every kind of difference in one sentence; a partial load of a file in which nothing fits throws, too.
LoadReport load_safetensors(const std::filesystem::path& path, Module& module, LoadOptions options = {});
LoadReport load_weights(const SafetensorsFile& file, Module& module, LoadOptions options = {});

struct SaveOptions {
  // Of all parameters and running statistics: f32, bf16 or f16, rounded to nearest. Counters stay i64.
  DType dtype = DType::f32;
  SafetensorsMetadata metadata = default_safetensors_metadata();
};

// Writes parameters and buffers so that PyTorch loads them with strict=True. The file appears atomically. Throws
// Error(checkpoint), writing nothing, for a finite value that f16 cannot hold.
FileDigest save_safetensors(const std::filesystem::path& path, Module& module, const SaveOptions& options = {});

// A copy in host memory of Module::state() or Optimizer::state() in the form of a file, for write_checkpoint().
// Training may go on while it is being written.
class HostState {
 public:
  explicit HostState(const std::vector<NamedTensor>& state);
  // In the order of `state`; valid as long as this object, moved or not.
  const std::vector<TensorView>& views() const { return views_; }

  // Rounds every f32 tensor to `dtype`; see SaveOptions.
  void narrow(DType dtype);

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::vector<TensorView> views_;
};

// The way back, bit for bit: every tensor of the file on the host in the engine's order of axes;
// Optimizer::load_state() takes them. Throws Error(checkpoint) for a type that the engine does not hold.
std::vector<NamedTensor> read_state(const SafetensorsFile& file);

}  // namespace engine
