#pragma once
// resnet-train --selftest resume: whether this machine, with this configuration, goes on after an interruption with the
// bits of a run that had none.
#include <filesystem>
#include <string>
#include <vector>

#include "engine/train/config.h"

namespace engine::tools {

// Runs this program several times in `folder`, each time a process of its own, for a few steps of `config` (resolved)
// on a few of its pictures: one run without interruption, one that is stopped in the middle of an epoch and at the end
// of one, killed, and goes on each time with another number of workers. Compares weights, optimiser state, position and
// metrics bit by bit and says what differs. `global_batch` is in pictures. Returns the exit code of the command: 0 if
// all are equal, 1 otherwise; the folder then stays. Throws the Error of a run that cannot be made.
int selftest_resume(TrainConfig config, int64_t global_batch, const std::filesystem::path& folder);

// What differs between the newest states and the metrics of two runs, one sentence each; empty if nothing but times
// does.
std::vector<std::string> compare_runs(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace engine::tools
