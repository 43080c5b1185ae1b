// Whole runs of the real program on the built-in pictures: what they leave behind, and that they can be stopped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "engine/error.h"
#include "engine/io/checkpoint.h"
#include "engine/io/run_lock.h"
#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kStepsPerEpoch = 6;

std::vector<std::string> resume(const std::string& run, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"--output-dir", run, "--resume", "auto"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

void flip_byte(const fs::path& path, std::streamoff position) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(position);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(position);
  file.put(byte);
}

TEST(Run, LeavesEverythingBehind) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny("run");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, AllOf(HasSubstr("cpu: "), HasSubstr("resnet20, 269,722 parameters, 0.041 GMACs"),
                                HasSubstr("2 epochs of 6 steps, 12 in all; global batch 16"), HasSubstr("bound="),
                                HasSubstr("report.html"), HasSubstr("--test-only --resume")));
  const fs::path run = workspace / "run";
  const Json summary = read_json(run / "summary.json");
  EXPECT_EQ(summary.at("epochs"), 2);
  EXPECT_EQ(summary.at("steps"), 12);
  EXPECT_EQ(summary.at("exit"), 0);
  EXPECT_EQ(summary.at("reason"), "finished");
  EXPECT_EQ(summary.at("val_samples"), 20);
  EXPECT_GT(summary.at("train_img_per_s"), 0);
  EXPECT_GE(summary.at("best_val_acc1"), summary.at("final_val_acc1"));
  EXPECT_EQ(read_json(run / "run.json").at("config").at("model"), "resnet20");
  EXPECT_EQ(read_json(run / "run.json").at("starts").size(), 1u);

  const std::vector<Json> lines = metrics(run);
  ASSERT_EQ(lines.size(), 14u);  // 12 steps and 2 validations
  EXPECT_EQ(lines[0].at("event"), "train");
  EXPECT_EQ(lines[0].at("step"), 1);
  EXPECT_EQ(lines[6].at("event"), "val");
  EXPECT_EQ(lines[13].at("acc1"), summary.at("final_val_acc1"));
  EXPECT_THAT(read_text(run / "report.html"), HasSubstr("resnet20"));
  EXPECT_FALSE(fs::is_empty(run / "tb"));
  for (const char* name : {"last", "best"}) {
    EXPECT_EQ(validate_checkpoint(run / "checkpoints" / name), std::nullopt);
  }
  EXPECT_EQ(SafetensorsFile::open(run / "checkpoints" / "last" / "model.safetensors").find("conv1.weight")->shape,
            (std::vector<int64_t>{16, 3, 3, 3}));
}

TEST(Run, WritesEventsToStdoutOnRequest) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny("run", {"--log-format", "jsonl", "--epochs", "1"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  std::istringstream lines(result.out);
  int train = 0;
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line);
    EXPECT_TRUE(json.contains("event") && json.contains("ts")) << line;
    train += json.at("event") == "train";
  }
  EXPECT_EQ(train, kStepsPerEpoch);
}

TEST(Run, AccumulatesBatches) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny("run", {"--grad-accum-steps", "3", "--epochs", "1"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("global batch 48 (16 x 3)"));
  EXPECT_EQ(read_json(workspace / "run" / "summary.json").at("steps"), 2);
}

// --- stopping and going on ---

TEST(Resume, AfterMaxStepsGivesTheSameBits) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("whole").exit_code, 0);
  // In the middle of an epoch, at its end, and in the next one; with other numbers of workers.
  ASSERT_EQ(workspace.run_tiny("parts", {"--max-steps", "2", "-j", "0"}).exit_code, 0);
  EXPECT_EQ(read_json(workspace / "parts" / "summary.json").at("steps"), 2);
  EXPECT_EQ(read_json(workspace / "parts" / "summary.json").at("reason"), "max_steps");
  ASSERT_EQ(workspace.run(resume("parts", {"--max-steps", "6", "-j", "3"})).exit_code, 0);
  ASSERT_EQ(workspace.run(resume("parts", {"--max-steps", "9"})).exit_code, 0);
  const CommandResult last = workspace.run(resume("parts", {"-j", "2"}));
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_THAT(last.err, HasSubstr("resumed  step 9 of epoch 2"));
  EXPECT_THAT(last.err, ::testing::Not(HasSubstr("warning")));
  expect_same_result(workspace / "parts", workspace / "whole");
  EXPECT_EQ(read_json(workspace / "parts" / "run.json").at("starts").size(), 4u);
}

// What is decided for a picture or a batch is a function of the seed and of its place in the run.
TEST(Resume, GoesOnWithTheSameAugmentation) {
  Workspace workspace;
  const std::vector<std::string> augmented = {
      "--auto-augment", "ta_wide", "--color-jitter", "0.3", "--random-erase", "0.5", "--mixup-alpha",     "0.4",
      "--cutmix-alpha", "1",       "--mixup-prob",   "0.9", "--ra-reps",      "2",   "--mixup-off-epoch", "1"};
  ASSERT_EQ(workspace.run_tiny("whole", augmented).exit_code, 0);
  std::vector<std::string> part = augmented;
  part.insert(part.end(), {"--max-steps", "3", "-j", "0"});
  ASSERT_EQ(workspace.run_tiny("parts", part).exit_code, 0);
  ASSERT_EQ(workspace.run(resume("parts", {"-j", "3"})).exit_code, 0);
  expect_same_result(workspace / "parts", workspace / "whole");
}

// Crops and flips taken on the device are those of the loader, to the last bit.
TEST(DeviceData, ChangesNoResult) {
  Workspace workspace;
  const std::vector<std::string> common = {
      "--max-steps",     "3",  "--random-erase", "0.5",      "--mixup-alpha", "1", "--train-crop-size", "16",
      "--val-crop-size", "16", "--crop",         "pad-crop", "--batch-size",  "8"};
  for (const std::string device : {"cpu", "emulated"}) {
    for (const std::string where : {"on", "off"}) {
      std::vector<std::string> flags = common;
      flags.insert(flags.end(), {"--device", device, "--data-on-device", where});
      const CommandResult result = workspace.run_tiny(device + where, flags);
      ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(result.err.find("training pictures on the device") != std::string::npos, where == "on");
    }
    expect_same_result(workspace / (device + "on"), workspace / (device + "off"));
  }
}

TEST(DeviceData, SaysWhyItIsNotPossible) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny("run", {"--data-on-device", "on", "--auto-augment", "ra"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("--data-on-device on is not possible, because the colours of single pictures are "
                                    "changed; leave it out"));
}

TEST(Resume, TakesTheMeasuredAlgorithmsFromTheCheckpoint) {
  Workspace workspace;
  // Without --deterministic the algorithms are measured; the second half of the run finds them in the checkpoint, not
  // in the cache of the machine.
  std::vector<std::string> whole = workspace.tiny("whole"), half = workspace.tiny("parts", {"--max-steps", "7"});
  std::erase(whole, "--deterministic");
  std::erase(half, "--deterministic");
  ASSERT_EQ(workspace.run(whole).exit_code, 0);
  ASSERT_EQ(workspace.run(half).exit_code, 0);
  fs::remove_all(workspace / "cache");
  ASSERT_EQ(workspace.run(resume("parts")).exit_code, 0);
  expect_same_result(workspace / "parts", workspace / "whole");
}

class StoppedBy : public ::testing::TestWithParam<int> {};

TEST_P(StoppedBy, SavesAndGoesOn) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("whole", {"--epochs", "4"}).exit_code, 0);
  Command command(workspace.path(), workspace.tiny("parts", {"--epochs", "4"}));
  ASSERT_TRUE(command.wait_for_line(workspace / "parts", "train", 3));
  command.signal(GetParam());
  const CommandResult stopped = command.wait();
  ASSERT_EQ(stopped.exit_code, 75) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("the state is saved"));
  const Json summary = read_json(workspace / "parts" / "summary.json");
  EXPECT_EQ(summary.at("exit"), 75);
  EXPECT_LT(summary.at("steps"), 4 * kStepsPerEpoch);
  ASSERT_EQ(workspace.run(resume("parts")).exit_code, 0);
  expect_same_result(workspace / "parts", workspace / "whole");
}

INSTANTIATE_TEST_SUITE_P(Signal, StoppedBy, ::testing::Values(SIGTERM, SIGINT, SIGUSR1, SIGUSR2));

TEST(Resume, AfterASignalDuringTheValidation) {
  Workspace workspace;
  const std::vector<std::string> settings = {"--epochs", "1", "--shapes-val", "1000", "--val-batch-size", "10"};
  ASSERT_EQ(workspace.run_tiny("whole", settings).exit_code, 0);
  Command command(workspace.path(), workspace.tiny("parts", settings));
  ASSERT_TRUE(command.wait_for_line(workspace / "parts", "train", kStepsPerEpoch));
  command.signal(SIGTERM);
  const CommandResult stopped = command.wait();
  ASSERT_EQ(stopped.exit_code, 75) << stopped.err;
  EXPECT_EQ(read_json(workspace / "parts" / "summary.json").at("epochs"), 0);
  EXPECT_EQ(read_json(workspace / "parts" / "summary.json").at("steps"), kStepsPerEpoch);
  ASSERT_EQ(workspace.run(resume("parts")).exit_code, 0);
  expect_same_result(workspace / "parts", workspace / "whole");
}

TEST(Resume, AfterKillNineGoesOnFromTheLastSave) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("whole").exit_code, 0);
  for (const int64_t step : {1, 5, 8}) {  // before the first save, between two saves, in the second epoch
    const bool first = step == 1;
    const std::vector<std::string> arguments =
        first ? workspace.tiny("parts", {"--checkpoint-steps", "2"}) : resume("parts");
    Command command(workspace.path(), arguments);
    ASSERT_TRUE(command.wait_for_line(workspace / "parts", "train", step));
    command.signal(SIGKILL);
    EXPECT_EQ(command.wait().exit_code, 128 + SIGKILL);
  }
  const CommandResult last = workspace.run(resume("parts"));
  ASSERT_EQ(last.exit_code, 0) << last.err;
  expect_same_result(workspace / "parts", workspace / "whole");
}

TEST(Stop, EndsAtOnceAtTheSecondSignalAndKeepsTheCheckpoint) {
  Workspace workspace;
  // Steps so long that the second signal comes before the first is obeyed.
  Command command(workspace.path(), workspace.tiny("run", {"--model", "resnet56", "--batch-size", "96", "--epochs",
                                                           "100", "--checkpoint-steps", "1"}));
  ASSERT_TRUE(command.wait_for_line(workspace / "run", "train", 2));
  command.signal(SIGTERM);
  command.signal(SIGINT);
  const int exit_code = command.wait().exit_code;
  EXPECT_TRUE(exit_code == 130 || exit_code == 143) << exit_code;
  EXPECT_TRUE(newest_valid_checkpoint(workspace / "run" / "checkpoints").directory.has_value());
}

TEST(Stop, IsNotCausedByAClosedTerminalOrALostReader) {
  Workspace workspace;
  Command command(workspace.path(), workspace.tiny("run", {"--epochs", "3"}));
  ASSERT_TRUE(command.wait_for_line(workspace / "run", "train", 2));
  command.signal(SIGHUP);
  EXPECT_EQ(command.wait().exit_code, 0);
  EXPECT_EQ(read_json(workspace / "run" / "summary.json").at("epochs"), 3);

  std::string line = std::string("cd ") + workspace.path().string() + " && " RESNET_TRAIN;
  for (const std::string& word : workspace.tiny("piped", {"--log-format", "jsonl"})) line += " " + word;
  FILE* pipe = ::popen((line + " 2>&1").c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  EXPECT_NE(std::fgetc(pipe), EOF);
  EXPECT_EQ(::pclose(pipe), 0);  // closes the reading end at once, then waits
  EXPECT_EQ(read_json(workspace / "piped" / "summary.json").at("epochs"), 2);
}

TEST(FullDisk, IsWarnedOfAndEndsTheRunAtTheThirdFailure) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "2"}).exit_code, 0);
  const CommandResult result =
      workspace.run(resume("run", {"--checkpoint-steps", "1"}), {.environment = {}, .largest_file = 500000});
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("warning: checkpoint last of step 3"), HasSubstr("checkpoint last of step 4"),
                                HasSubstr("checkpoint last of step 5"), HasSubstr("3rd failure in a row")));
  const NewestCheckpoint newest = newest_valid_checkpoint(workspace / "run" / "checkpoints");
  ASSERT_TRUE(newest.directory);
  EXPECT_EQ(newest.step, 2);
  EXPECT_EQ(read_json(workspace / "run" / "summary.json").at("exit"), 4);
}

TEST(Resume, FallsBackToAnOlderCheckpointWhenTheNewestIsDamaged) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("whole").exit_code, 0);
  ASSERT_EQ(
      workspace.run_tiny("parts", {"--checkpoint-steps", "2", "--checkpoint-hist", "2", "--max-steps", "9"}).exit_code,
      0);
  EXPECT_TRUE(fs::exists(workspace / "parts" / "checkpoints" / "step-00000008"));
  flip_byte(workspace / "parts" / "checkpoints" / "last" / "model.safetensors", 100000);

  const CommandResult direct = workspace.run({"--resume", "parts/checkpoints/last"});
  EXPECT_EQ(direct.exit_code, 4);
  EXPECT_THAT(direct.err, HasSubstr("model.safetensors does not match the XXH3-128 sum"));

  // `last` and its twin step-00000009 share their bytes; what is taken is step 8.
  const CommandResult automatic = workspace.run(resume("parts"));
  ASSERT_EQ(automatic.exit_code, 0) << automatic.err;
  EXPECT_THAT(automatic.err, AllOf(HasSubstr("warning: passed over: "), HasSubstr("resumed  step 8 of epoch 2")));
  expect_same_result(workspace / "parts", workspace / "whole");
}

TEST(Resume, RefusesWhenEveryCheckpointIsDamaged) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "2"}).exit_code, 0);
  for (const char* name : {"last", "best"})
    fs::resize_file(workspace / "run" / "checkpoints" / name / "state.json", 10);
  const CommandResult result = workspace.run(resume("run"));
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.err, HasSubstr("has no valid checkpoint"));
}

TEST(Resume, StartsAfreshWhenThereIsNothingYet) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny("run", {"--resume", "auto", "--max-steps", "1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(read_json(workspace / "run" / "summary.json").at("steps"), 1);
}

TEST(Resume, SaysThatAFinishedRunIsFinishedAndGoesOnIfThereAreMoreEpochs) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--epochs", "1"}).exit_code, 0);
  const std::vector<char> before = read_bytes(workspace / "run" / "summary.json");
  const CommandResult again = workspace.run(resume("run"));
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(again.err, HasSubstr("this run is finished after 1 epochs"));
  EXPECT_EQ(read_bytes(workspace / "run" / "summary.json"), before);

  const CommandResult more = workspace.run(resume("run", {"--epochs", "2"}));
  EXPECT_EQ(more.exit_code, 0) << more.err;
  EXPECT_THAT(more.err, HasSubstr("epochs: 1 before, 2 now"));
  EXPECT_EQ(read_json(workspace / "run" / "summary.json").at("epochs"), 2);
}

TEST(Resume, RefusesAnotherModelOrOtherData) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "2"}).exit_code, 0);
  const std::vector<char> before = read_bytes(workspace / "run" / "checkpoints" / "last" / "MANIFEST.json");
  const CommandResult model = workspace.run(resume("run", {"--model", "resnet32", "--num-classes", "12"}));
  EXPECT_EQ(model.exit_code, 4);
  EXPECT_THAT(model.err,
              HasSubstr("model is resnet32, the checkpoint has resnet20; num_classes is 12, the checkpoint has 10"));
  const CommandResult data = workspace.run(resume("run", {"--shapes-train", "112"}));
  EXPECT_EQ(data.exit_code, 4);
  EXPECT_THAT(data.err, HasSubstr("training pictures is 112, the checkpoint has 96"));
  EXPECT_EQ(read_bytes(workspace / "run" / "checkpoints" / "last" / "MANIFEST.json"), before);
}

TEST(Resume, GoesOnInAnotherFolderButNotInThatOfAnotherRun) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("whole").exit_code, 0);
  ASSERT_EQ(workspace.run_tiny("begin", {"--max-steps", "7"}).exit_code, 0);
  const CommandResult refused = workspace.run({"--resume", "begin", "--output-dir", "whole"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("already holds a run"));
  const CommandResult result = workspace.run({"--resume", "begin/checkpoints/last", "--output-dir", "end"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(read_bytes(workspace / "end" / "checkpoints" / "last" / "model.safetensors"),
            read_bytes(workspace / "whole" / "checkpoints" / "last" / "model.safetensors"));
  EXPECT_EQ(read_json(workspace / "begin" / "summary.json").at("steps"), 7);
}

TEST(Resume, WarnsOfAnotherNumberOfThreads) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "1"}).exit_code, 0);
  const CommandResult result = workspace.run(resume("run", {"--threads", "2", "--max-steps", "2"}));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("threads: 1 before, 2 now"));
}

TEST(Resume, StrictlyRefusesWhateverChangesTheBits) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "1"}).exit_code, 0);
  const CommandResult threads = workspace.run(resume("run", {"--threads", "2", "--strict-resume"}));
  EXPECT_EQ(threads.exit_code, 4);
  EXPECT_THAT(threads.err, AllOf(HasSubstr("--strict-resume: "), HasSubstr("threads: 1 before, 2 now")));
  const CommandResult isa =
      workspace.run(resume("run", {"--strict-resume"}), {.environment = {{"ONEDNN_MAX_CPU_ISA", "SSE41"}}});
  EXPECT_EQ(isa.exit_code, 4) << "another instruction set";
  EXPECT_THAT(isa.err, HasSubstr("device: "));
  EXPECT_EQ(workspace.run(resume("run", {"-j", "0", "--strict-resume"})).exit_code, 0);
}

TEST(Resume, WritesTheSummaryThatAKilledRunDidNotComeTo) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("whole", {"--epochs", "1"}).exit_code, 0);
  ASSERT_EQ(workspace.run_tiny("run", {"--epochs", "1"}).exit_code, 0);
  for (const char* name : {"summary.json", "report.html"}) fs::remove(workspace / "run" / name);
  fs::remove_all(workspace / "run" / "checkpoints" / "best");
  const CommandResult result = workspace.run(resume("run"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_same_result(workspace / "run", workspace / "whole");
  EXPECT_TRUE(fs::exists(workspace / "run" / "report.html"));
}

// --- the folder of a run ---

TEST(RunFolder, IsNotOverwrittenUnasked) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "1"}).exit_code, 0);
  const CommandResult refused = workspace.run_tiny("run", {"--max-steps", "1"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err,
              HasSubstr("already holds a run; continue it with --resume auto, replace it with --overwrite"));
  EXPECT_EQ(workspace.run_tiny("run", {"--max-steps", "2", "--overwrite"}).exit_code, 0);
  EXPECT_EQ(read_json(workspace / "run" / "summary.json").at("steps"), 2);
}

TEST(RunFolder, OverwritingLeavesNoFailedBatchOfAnyRank) {
  Workspace workspace;
  fs::create_directory(workspace / "run");
  for (const char* name : {"failed-batch.safetensors", "failed-batch-rank1.safetensors", "notes.txt"}) {
    write_text(workspace / "run" / name, "of an earlier run");
  }
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "1", "--overwrite"}).exit_code, 0);
  EXPECT_FALSE(fs::exists(workspace / "run" / "failed-batch.safetensors"));
  EXPECT_FALSE(fs::exists(workspace / "run" / "failed-batch-rank1.safetensors"));
  EXPECT_TRUE(fs::exists(workspace / "run" / "notes.txt"));
}

TEST(RunFolder, IsRefusedBeforeTrainingWhenItCannotBeWrittenTo) {
  Workspace workspace;
  write_text(workspace / "file", "not a folder");
  const CommandResult result = workspace.run_tiny("file/run");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("file"));
}

TEST(RunFolder, BelongsToOneProcess) {
  Workspace workspace;
  fs::create_directories(workspace / "run");
  const RunLock lock(workspace / "run");
  const CommandResult result = workspace.run_tiny("run");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("is in use by process " + std::to_string(::getpid())));
}

TEST(RunFolder, IsNamedAfterModelAndDataByDefault) {
  Workspace workspace;
  std::vector<std::string> arguments = workspace.tiny("unused", {"--max-steps", "1"});
  arguments.erase(arguments.begin(), arguments.begin() + 2);
  ASSERT_EQ(workspace.run(arguments).exit_code, 0);
  const auto entry = fs::directory_iterator(workspace / "runs")->path().filename().string();
  EXPECT_THAT(entry, ::testing::MatchesRegex("resnet20-shapes-[0-9]+-[0-9]+"));
}

// --- weights and tests ---

TEST(TestOnly, FindsTheAccuracyOfTheRun) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run").exit_code, 0);
  const double accuracy = read_json(workspace / "run" / "summary.json").at("final_val_acc1");
  const CommandResult resumed = workspace.run({"--test-only", "--resume", "run", "--log-format", "jsonl"});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(Json::parse(resumed.out).at("acc1"), accuracy);
  EXPECT_EQ(Json::parse(resumed.out).at("samples"), 20);

  const CommandResult weights = workspace.run({"--test-only", "--weights", "run/checkpoints/last/model.safetensors",
                                               "--config", "run/run.json", "--log-format", "jsonl"});
  ASSERT_EQ(weights.exit_code, 0) << weights.err;
  EXPECT_EQ(Json::parse(weights.out).at("acc1"), accuracy);
  EXPECT_FALSE(fs::exists(workspace / "runs"));
}

TEST(Weights, StartARunAndGetANewHeadForOtherClasses) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "1"}).exit_code, 0);
  const CommandResult same = workspace.run_tiny("same", {"--max-steps", "1", "--weights", "run"});
  EXPECT_EQ(same.exit_code, 0) << same.err;
  const CommandResult other =
      workspace.run_tiny("other", {"--max-steps", "1", "--weights", "run/checkpoints/last", "--num-classes", "12"});
  EXPECT_EQ(other.exit_code, 0) << other.err;
  EXPECT_THAT(other.err, HasSubstr("has 10 classes; a new one with 12 takes its place"));
  const CommandResult wrong = workspace.run_tiny("wrong", {"--weights", "run", "--model", "resnet32"});
  EXPECT_EQ(wrong.exit_code, 4);
  EXPECT_THAT(wrong.err, HasSubstr("layer1.3.conv1.weight"));
  EXPECT_FALSE(fs::exists(workspace / "wrong" / "checkpoints"));
}

TEST(Diverged, StopsBeforeTheUpdateAndKeepsTheCheckpoint) {
  Workspace workspace;
  const CommandResult result =
      workspace.run_tiny("run", {"--epochs", "20", "--lr", "1e6", "--lr-scheduler", "constant", "--wd", "10",
                                 "--momentum", "0.99", "--checkpoint-steps", "1"});
  EXPECT_EQ(result.exit_code, 7) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("training: the "), HasSubstr(" in step "), HasSubstr("samples ")));
  EXPECT_EQ(read_json(workspace / "run" / "summary.json").at("exit"), 7);
  const NewestCheckpoint newest = newest_valid_checkpoint(workspace / "run" / "checkpoints");
  ASSERT_TRUE(newest.directory);
  EXPECT_EQ(newest.step, read_json(workspace / "run" / "summary.json").at("steps"));
}

}  // namespace
}  // namespace engine::testing
