#pragma once
// A small checkpoint whose parts can be told to belong together, and what tests do with it.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "engine/io/atomic_directory.h"
#include "engine/io/checkpoint.h"
#include "tests/io/simulated_disk.h"

namespace engine::test {

// A checkpoint whose every byte depends on its step.
class Sample {
 public:
  explicit Sample(std::int64_t step) : step_(step) {
    weight_.fill(static_cast<float>(step));
    momentum_.fill(static_cast<float>(-step));
  }
  CheckpointContents contents() const {
    return {.step = step_,
            .model = {{"conv1.weight", SafetensorsDType::f32, {2, 4}, std::as_bytes(std::span(weight_))},
                      {"bn1.num_batches_tracked", SafetensorsDType::i64, {}, std::as_bytes(std::span(&step_, 1))}},
            .trainer =
                {{"momentum_buffer.conv1.weight", SafetensorsDType::f32, {2, 4}, std::as_bytes(std::span(momentum_))}},
            .state_json = "{\"step\":" + std::to_string(step_) + "}"};
  }

 private:
  std::int64_t step_;
  std::array<float, 8> weight_, momentum_;
};

inline SimulatedDisk disk_with_run() {
  SimulatedDisk disk;
  disk.make_directory("/run");
  disk.sync_everything();
  return disk;
}

inline void save(FileOps& disk, const std::string& name, std::int64_t step) {
  write_checkpoint("/run", name, Sample(step).contents(), disk);
}

// The step of a checkpoint all of whose parts belong together; fails the test if they do not.
inline std::int64_t step_of(const std::filesystem::path& directory, FileOps& ops) {
  const Checkpoint checkpoint = read_checkpoint(directory, ops);
  EXPECT_EQ(checkpoint.state_json, "{\"step\":" + std::to_string(checkpoint.step) + "}");
  const std::int64_t* step =
      reinterpret_cast<const std::int64_t*>(checkpoint.model.find("bn1.num_batches_tracked")->data.data());
  EXPECT_EQ(*step, checkpoint.step);
  const float* momentum = reinterpret_cast<const float*>(checkpoint.trainer.entries().at(0).data.data());
  EXPECT_EQ(*momentum, static_cast<float>(-checkpoint.step));
  return checkpoint.step;
}

// What a restarted process finds: 0 when there is no valid checkpoint.
inline std::int64_t step_after_restart(FileOps& ops) {
  remove_leftovers("/run/checkpoints", ops);
  const NewestCheckpoint newest = newest_valid_checkpoint("/run/checkpoints", ops);
  return newest.directory ? step_of(*newest.directory, ops) : 0;
}

inline std::vector<std::string> names_in(FileOps& ops, const std::filesystem::path& directory) {
  std::vector<std::string> names;
  EXPECT_EQ(ops.list(directory, names), 0);
  return names;
}

}  // namespace engine::test
