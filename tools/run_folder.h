#pragma once
// Where a run leaves its files.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "engine/io/run_lock.h"
#include "engine/nn/module.h"
#include "engine/train/config.h"

namespace engine::tools {

// The folder that the flags name, or nothing: then it is named after model and data, which are not known yet.
std::optional<std::filesystem::path> named_run_dir(const TrainConfig& config);

// runs/MODEL-DATA-TIME.
std::filesystem::path automatic_run_dir(const std::string& model, const std::string& data);

// Created and locked before anything is computed for it.
class RunFolder {
 public:
  // Throws Error(usage) if it cannot be written to or belongs to another process.
  explicit RunFolder(const std::filesystem::path& path);
  const std::filesystem::path& path() const { return path_; }
  bool holds_run() const;
  // Leaves nothing of an earlier run that a new one would mix with.
  void clear() const;

 private:
  std::filesystem::path path_;
  std::unique_ptr<RunLock> lock_;
};

// Before any work is done: throws Error(usage) if --min-free cannot be kept, warns if the checkpoints will not find
// room.
void check_disk(const std::filesystem::path& run_dir, Module& net, const TrainConfig& config);

}  // namespace engine::tools
