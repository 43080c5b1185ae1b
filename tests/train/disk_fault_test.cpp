// What a run does when its disk is full, read-only or gone: the old checkpoint stays, the training goes on as long as
// there is hope, and the exit code says what it was.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>

#include "engine/error.h"
#include "engine/io/checkpoint.h"
#include "engine/io/file.h"
#include "engine/nn/layers.h"
#include "engine/optim/sgd.h"
#include "engine/train/checkpointer.h"
#include "tests/train/private_mount.h"
#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> resume(const std::string& run, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"--output-dir", run, "--resume", "auto"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

#define MOUNT_OR_SKIP(disk, folder, bytes)    \
  fs::create_directories(folder);             \
  const PrivateMount disk((folder), (bytes)); \
  if (!disk.mounted()) GTEST_SKIP() << "this machine allows no mounts in a namespace of one's own"

constexpr int64_t kRoomForOneCheckpoint = 3 << 20;  // one of resnet20 takes 2.2 MB

TEST(FullDisk, KeepsTheOldCheckpointAndSaysWhatIsNeededAndFree) {
  Workspace workspace;
  MOUNT_OR_SKIP(disk, workspace / "disk", kRoomForOneCheckpoint);
  const CommandResult result = workspace.run_tiny("disk/run", {"--checkpoint-steps", "1"});
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("are free for"), HasSubstr("checkpoint last of step 2 (2.2 MB) was not saved"),
                    HasSubstr("No space left on device ("), HasSubstr("free some space"),
                    HasSubstr("the training goes on without it"), HasSubstr("3rd failure in a row")));
  const fs::path checkpoints = workspace / "disk" / "run" / "checkpoints";
  EXPECT_EQ(names_in(checkpoints), std::vector<std::string>{"last"}) << "leftovers";
  EXPECT_EQ(newest_valid_checkpoint(checkpoints).step, 1);
}

TEST(FullDisk, GoesOnWithTheSameBitsOnceThereIsRoom) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("whole").exit_code, 0);
  MOUNT_OR_SKIP(disk, workspace / "disk", 2 * kRoomForOneCheckpoint);
  ASSERT_EQ(workspace.run_tiny("disk/run", {"--max-steps", "2"}).exit_code, 0);
  constexpr size_t kRoomForLogs = 300000;
  const size_t free = fs::space(workspace / "disk").available;
  write_text(workspace / "disk" / "filler", std::string(free - kRoomForLogs, 'x'));
  EXPECT_EQ(workspace.run(resume("disk/run", {"--checkpoint-steps", "1"})).exit_code, 4);
  fs::remove(workspace / "disk" / "filler");
  const CommandResult result = workspace.run(resume("disk/run"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_same_result(workspace / "disk" / "run", workspace / "whole");
}

TEST(MinFree, RefusesToStartAndCountsAsAFullDisk) {
  Workspace workspace;
  MOUNT_OR_SKIP(disk, workspace / "disk", 4 * kRoomForOneCheckpoint);
  const CommandResult refused = workspace.run_tiny("disk/run", {"--min-free", "12000000"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("--min-free: "), HasSubstr("12.0 MB have to stay free")));
  const CommandResult later = workspace.run_tiny("disk/run", {"--min-free", "8500000", "--checkpoint-steps", "1"});
  EXPECT_EQ(later.exit_code, 4) << later.err;
  EXPECT_THAT(later.err, AllOf(HasSubstr("--min-free keeps 8.5 MB"), HasSubstr("3rd failure in a row")));
  EXPECT_TRUE(newest_valid_checkpoint(workspace / "disk" / "run" / "checkpoints").directory);
}

TEST(ReadOnlyDisk, IsRefusedBeforeTraining) {
  Workspace workspace;
  MOUNT_OR_SKIP(disk, workspace / "disk", kRoomForOneCheckpoint);
  ASSERT_TRUE(disk.make_read_only());
  const CommandResult result = workspace.run_tiny("disk/run");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("Read-only file system"), Not(HasSubstr("step 1"))));
}

TEST(LostFolder, EndsTheRunAtTheThirdSaveAndLeavesWhatWasSaved) {
  Workspace workspace;
  Command command(workspace.path(), workspace.tiny("run", {"--epochs", "1000", "--checkpoint-steps", "1"}));
  ASSERT_TRUE(command.wait_for_line(workspace / "run", "train", 3));
  fs::rename(workspace / "run", workspace / "moved");
  const CommandResult result = command.wait();
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("No such file or directory"), HasSubstr("3rd failure in a row")));
  EXPECT_GE(newest_valid_checkpoint(workspace / "moved" / "checkpoints").step, 2);
  EXPECT_FALSE(fs::exists(workspace / "run"));
}

// Logs are not worth a training: what cannot be written is dropped, and said once.
TEST(FullLogs, EndNothing) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("whole").exit_code, 0);
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "2"}).exit_code, 0);
  constexpr int64_t kLargestFile = 4'000'000;  // a checkpoint is smaller, the file of metrics as large already
  std::ofstream(workspace / "run" / "metrics.jsonl", std::ios::app)
      << R"({"event":")" << std::string(kLargestFile, 'x') << "\"}\n";
  fs::remove_all(workspace / "run" / "tb");
  write_text(workspace / "run" / "tb", "not a folder");
  const CommandResult result = workspace.run(resume("run"), {.largest_file = kLargestFile});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const std::string once = "metrics.jsonl: File too large";
  ASSERT_THAT(result.err, HasSubstr(once));
  EXPECT_EQ(result.err.find(once), result.err.rfind(once));
  EXPECT_EQ(read_bytes(workspace / "run" / "checkpoints" / "last" / "model.safetensors"),
            read_bytes(workspace / "whole" / "checkpoints" / "last" / "model.safetensors"));
}

TEST(FullLogs, OfStdoutAndStderrEndNothing) {
  Workspace workspace;
  for (const char* format : {"text", "jsonl"}) {
    std::string line = std::string("cd ") + workspace.path().string() + " && " RESNET_TRAIN;
    for (const std::string& word : workspace.tiny(format, {"--log-format", format})) line += " " + word;
    EXPECT_EQ(std::system((line + " >/dev/full 2>&1").c_str()), 0);
    EXPECT_EQ(read_json(workspace / format / "summary.json").at("exit"), 0);
  }
}

// --- weights that are not finite ---

// Replaces one weight of a checkpoint by NaN, with right sums.
void poison(const fs::path& run, const std::string& name) {
  const Checkpoint checkpoint = read_checkpoint(run / "checkpoints" / name);
  CheckpointContents contents{.step = checkpoint.step,
                              .model = checkpoint.model.entries(),
                              .trainer = checkpoint.trainer.entries(),
                              .state_json = checkpoint.state_json};
  const auto is_f32 = [](const TensorView& view) { return view.dtype == SafetensorsDType::f32; };
  TensorView& first = *std::find_if(contents.model.begin(), contents.model.end(), is_f32);
  std::vector<std::byte> bytes(first.data.begin(), first.data.end());
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data(), &nan, sizeof nan);
  first.data = bytes;
  write_checkpoint(run, name, contents);
}

TEST(NonFiniteWeights, AreNotLoadedUnlessForced) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "2"}).exit_code, 0);
  poison(workspace / "run", "last");
  for (const std::vector<std::string>& arguments :
       {resume("run"), workspace.tiny("other", {"--weights", "run/checkpoints/last", "--max-steps", "1"}),
        std::vector<std::string>{"--test-only", "--resume", "run/checkpoints/last"}}) {
    const CommandResult result = workspace.run(arguments);
    EXPECT_EQ(result.exit_code, 7) << result.err;
    EXPECT_THAT(result.err, AllOf(HasSubstr("is not finite"), HasSubstr("--allow-nonfinite")));
  }
  const CommandResult forced = workspace.run({"--test-only", "--resume", "run/checkpoints/last", "--allow-nonfinite"});
  EXPECT_EQ(forced.exit_code, 0) << forced.err;
}

class CheckpointerTest : public ::testing::Test {
 protected:
  CheckpointerTest() {
    for (NamedParameter parameter : module_.parameters())
      parameter.tensor.copy_from(Tensor::full(parameter.tensor.shape(), 1));
  }
  Workspace workspace_;
  Linear module_{2, 3};
  Sgd sgd_{module_.parameters(), {}};
  Checkpointer checkpointer_{workspace_.path(), {}};
  SavedState saved_{.config = "{}", .schedule = "{}"};
};

TEST_F(CheckpointerTest, CountsFailuresInARowOnly) {
  const fs::path folder = workspace_ / "checkpoints";
  const auto fail_twice = [&] {
    write_text(folder, "in the way");
    EXPECT_FALSE(checkpointer_.save(module_, sgd_, saved_));
    EXPECT_FALSE(checkpointer_.save(module_, sgd_, saved_));
  };
  fail_twice();
  fs::remove(folder);
  EXPECT_TRUE(checkpointer_.save(module_, sgd_, saved_));
  fs::remove_all(folder);
  fail_twice();
  EXPECT_THROW(checkpointer_.save(module_, sgd_, saved_), Error);
}

}  // namespace
}  // namespace engine::testing
