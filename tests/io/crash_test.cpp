// A process that is killed and a disk that loses power at every call of a save: what is found afterwards is the old or
// the new checkpoint, whole, and the metrics up to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>

#include "engine/io/atomic_directory.h"
#include "engine/io/metrics_log.h"
#include "tests/io/checkpoint_sample.h"
#include "tests/io/simulated_disk.h"

namespace engine {
namespace {

using test::disk_with_run;
using test::Fault;
using test::FaultyFileOps;
using test::names_in;
using test::save;
using test::SimulatedDisk;
using test::step_after_restart;
using test::step_of;

struct Case {
  bool exchange_supported;
  bool links;  // copy_checkpoint() instead of write_checkpoint()
};

// False if the save said that it failed, which it may do only as a checkpoint's error.
bool succeeds(const std::function<void()>& save) {
  try {
    save();
    return true;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::checkpoint) << error.what();
    return false;
  }
}

class CheckpointCrash : public testing::TestWithParam<Case> {
 protected:
  // /run with `last` of step 1 (and, for copies, `best` of step 1 and `last` of step 2), all of it durable.
  SimulatedDisk before() const {
    SimulatedDisk disk = disk_with_run();
    disk.exchange_supported = GetParam().exchange_supported;
    save(disk, target(), 1);
    if (GetParam().links) save(disk, "source", 2);
    disk.sync_everything();
    return disk;
  }
  void act(FileOps& ops) const {
    if (GetParam().links)
      copy_checkpoint("/run", "source", target(), ops);
    else
      save(ops, target(), 2);
  }
  static std::string target() { return "last"; }
  // The step of the target after a restart.
  std::int64_t step_found(SimulatedDisk& disk) const {
    if (GetParam().links) {
      remove_leftovers("/run/checkpoints", disk);
      return step_of("/run/checkpoints/last", disk);
    }
    return step_after_restart(disk);
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, CheckpointCrash,
                         testing::Values(Case{true, false}, Case{false, false}, Case{true, true}, Case{false, true}),
                         [](const auto& instance) {
                           return std::string(instance.param.links ? "Links" : "Writes") +
                                  (instance.param.exchange_supported ? "Exchange" : "TwoRenames");
                         });

TEST_P(CheckpointCrash, AnyFailingCallLeavesOldOrNew) {
  for (int at = 0;; ++at) {
    SimulatedDisk disk = before();
    FaultyFileOps ops(disk, Fault::fail_once, at);
    const bool saved = succeeds([&] { act(ops); });
    // Even without the clean-up at the next start, the newest checkpoint is found.
    EXPECT_TRUE(newest_valid_checkpoint("/run/checkpoints", disk).directory.has_value()) << "call " << at;
    const std::int64_t step = step_found(disk);
    EXPECT_TRUE(step == 2 || (!saved && step == 1)) << "call " << at << " found step " << step;
    EXPECT_EQ(names_in(disk, "/run/checkpoints").size(), GetParam().links ? 2u : 1u) << "call " << at;
    if (!ops.reached()) {
      EXPECT_TRUE(saved);
      EXPECT_GE(at, 15);
      break;
    }
  }
}

TEST_P(CheckpointCrash, KillAtAnyCallLeavesOldOrNew) {
  std::mt19937 random(22);
  for (int at = 0;; ++at) {
    SimulatedDisk disk = before();
    FaultyFileOps ops(disk, Fault::fail_for_good, at);
    const bool saved = succeeds([&] { act(ops); });
    const std::int64_t step = step_found(disk);
    EXPECT_TRUE(step == 2 || (!saved && step == 1)) << "call " << at << " found step " << step;
    EXPECT_EQ(names_in(disk, "/run/checkpoints").size(), GetParam().links ? 2u : 1u) << "call " << at;
    // The restart cleaned up; now the power fails too.
    for (int i = 0; i < 50; ++i) {
      SimulatedDisk after = disk.after_power_loss(random);
      const std::int64_t later = step_found(after);
      ASSERT_TRUE(later == 2 || (!saved && later == 1)) << "call " << at << " found step " << later;
    }
    if (!ops.reached()) break;
  }
}

TEST_P(CheckpointCrash, PowerLossAtAnyCallLeavesOldOrNew) {
  constexpr int kLossesPerCall = 100;
  std::mt19937 random(20);
  int losses = 0;
  for (int at = 0;; ++at) {
    SimulatedDisk disk = before();
    FaultyFileOps ops(disk, Fault::fail_for_good, at);
    const bool saved = succeeds([&] { act(ops); });
    for (int i = 0; i < kLossesPerCall; ++i, ++losses) {
      SimulatedDisk after = disk.after_power_loss(random);
      const std::int64_t step = step_found(after);
      ASSERT_TRUE(step == 2 || (!saved && step == 1)) << "call " << at << " found step " << step;
    }
    if (!ops.reached()) break;
  }
  EXPECT_GE(losses, 1500);
}

TEST(CheckpointCrashOfTheFirst, LeavesItOrNothing) {
  std::mt19937 random(21);
  for (int at = 0;; ++at) {
    SimulatedDisk disk = disk_with_run();
    FaultyFileOps ops(disk, Fault::fail_for_good, at);
    const bool saved = succeeds([&] { save(ops, "last", 2); });
    for (int i = 0; i < 50; ++i) {
      SimulatedDisk after = disk.after_power_loss(random);
      const std::int64_t step = step_after_restart(after);
      ASSERT_TRUE(step == 2 || (!saved && step == 0)) << "call " << at << " found step " << step;
    }
    if (!ops.reached()) break;
  }
}

// --- a whole save of a run ---

constexpr const char* kMetrics = "/run/metrics.jsonl";

std::string line_of(std::int64_t step) {
  return "{\"step\":" + std::to_string(step) + "}";
}

// What a run does at the end of an epoch: logs the step, saves `last`, keeps a copy, drops the oldest copy, marks
// `best`. `finished` counts the parts that were acknowledged.
void end_epoch(MetricsLog& log, std::int64_t step, FileOps& ops, int& finished) {
  log.append(line_of(step));
  log.sync();
  save(ops, "last", step);
  ++finished;
  copy_checkpoint("/run", "last", step_checkpoint_name(step), ops);
  prune_step_checkpoints("/run/checkpoints", 1, ops);
  ++finished;
  copy_checkpoint("/run", "last", "best", ops);
  ++finished;
}

class SaveSequence : public testing::TestWithParam<std::tuple<bool, bool>> {
 protected:
  SimulatedDisk before() const {
    SimulatedDisk disk = disk_with_run();
    std::tie(disk.exchange_supported, disk.link_supported) = GetParam();
    int finished = 0;
    MetricsLog log(kMetrics, std::nullopt, {}, disk);
    end_epoch(log, 1, disk, finished);
    return disk;  // what was saved is durable because it was synced, not because the test says so
  }

  // The process starts again on what is left of the disk.
  static void restart(SimulatedDisk& disk, int finished) {
    remove_leftovers("/run/checkpoints", disk);
    const NewestCheckpoint newest = newest_valid_checkpoint("/run/checkpoints", disk);
    ASSERT_EQ(newest.skipped, std::vector<std::string>{});
    ASSERT_TRUE(newest.directory);
    ASSERT_EQ(step_of(*newest.directory, disk), newest.step);
    ASSERT_GE(newest.step, finished > 0 ? 2 : 1);
    const std::int64_t best = step_of("/run/checkpoints/best", disk);
    ASSERT_TRUE(best == 2 || (best == 1 && finished < 3)) << best;
    for (const std::string& name : names_in(disk, "/run/checkpoints"))
      ASSERT_LE(step_of("/run/checkpoints/" + name, disk), newest.step) << name;
    MetricsLog log(kMetrics, newest.step, {}, disk);
    std::string expected;
    for (std::int64_t step = 1; step <= newest.step; ++step) expected += line_of(step) + "\n";
    ASSERT_EQ(disk.text_of(kMetrics), expected);
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, SaveSequence, testing::Combine(testing::Bool(), testing::Bool()),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param) ? "Exchange" : "TwoRenames") +
                                  (std::get<1>(instance.param) ? "Links" : "Copies");
                         });

TEST_P(SaveSequence, AnyLossAtAnyCallLeavesOldOrNew) {
  constexpr int kLosses = 2'500;  // in each of the four ways
  std::mt19937 random(24);
  const SimulatedDisk start = before();
  const auto run_until = [&](int at, int& finished) {
    SimulatedDisk disk = start;
    FaultyFileOps ops(disk, Fault::fail_for_good, at);
    try {
      MetricsLog log(kMetrics, 1, {}, ops);
      end_epoch(log, 2, ops, finished);
    } catch (const Error&) {
    }
    return std::pair(std::move(disk), ops.reached());
  };
  int calls = 0;
  for (int finished = 0; run_until(calls, finished).second;) ++calls;
  const int losses_per_call = kLosses / (calls + 1) + 1;
  for (int at = 0; at <= calls; ++at) {
    SCOPED_TRACE("after " + std::to_string(at) + " of " + std::to_string(calls) + " calls");
    int finished = 0;
    SimulatedDisk disk = run_until(at, finished).first;
    for (int i = 0; i < losses_per_call; ++i) {
      SimulatedDisk after = disk.after_power_loss(random);
      restart(after, finished);
      if (HasFatalFailure()) return;
    }
    restart(disk, finished);  // killed, nothing lost
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace engine
