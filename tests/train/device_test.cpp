// Whole runs on the emulated device: the CUDA backend and its kernels, from the command line to the checkpoint.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/error.h"
#include "engine/io/checkpoint.h"
#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

const std::vector<std::string> kEmulated = {"--device",        "emulated", "--train-crop-size", "16",
                                            "--val-crop-size", "16",       "--val-resize-size", "16"};

std::vector<std::string> with(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(EmulatedRun, TheLossFalls) {
  Workspace workspace;
  const CommandResult result =
      workspace.run_tiny("run", with(kEmulated, {"--shapes-train", "32", "--max-steps", "30", "--epochs", "15",
                                                 "--lr-scheduler", "constant", "--lr", "0.05", "--print-freq", "1"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("emulated: emulated GPU"));
  double first = 0, last = 0;
  int steps = 0;
  for (const Json& line : metrics(workspace / "run")) {
    if (line.at("event") != "train") continue;
    if (steps < 5) first += line.at("loss").get<double>() / 5;
    if (steps >= 25) last += line.at("loss").get<double>() / 5;
    ++steps;
  }
  EXPECT_EQ(steps, 30);
  EXPECT_LT(last, 0.95 * first);
}

TEST(EmulatedRun, StoppedAndResumedGivesTheSameBits) {
  for (const char* precision : {"fp32", "bf16", "fp16"}) {
    SCOPED_TRACE(precision);
    Workspace workspace;
    const auto run = [&](const std::string& name, const std::vector<std::string>& more) {
      const CommandResult result =
          workspace.run_tiny(name, with(with(kEmulated, {"--precision", precision, "--epochs", "1"}), more));
      EXPECT_EQ(result.exit_code, 0) << result.err;
    };
    run("whole", {});
    run("parts", {"--max-steps", "2"});
    const CommandResult rest = workspace.run({"--output-dir", "parts", "--resume", "auto"});
    ASSERT_EQ(rest.exit_code, 0) << rest.err;
    EXPECT_THAT(rest.err, HasSubstr("resumed  step 2 of epoch 1"));
    expect_same_result(workspace / "parts", workspace / "whole");
  }
}

// The first step of a process is done as it is, the second is recorded, the others are replayed.
TEST(EmulatedRun, RecordedStepsGiveTheSameBits) {
  Workspace workspace;
  const auto arguments = [&](const std::string& name) {
    return workspace.tiny(name, with(kEmulated, {"--epochs", "1", "--precision", "bf16"}));
  };
  const CommandResult recorded = workspace.run(arguments("recorded"));
  const CommandResult eager = workspace.run(arguments("eager"), {.environment = {{"ENGINE_CUDA_GRAPH", "0"}}});
  ASSERT_EQ(recorded.exit_code, 0) << recorded.err;
  ASSERT_EQ(eager.exit_code, 0) << eager.err;
  EXPECT_THAT(recorded.err, ::testing::Not(HasSubstr("could not be recorded")));
  expect_same_result(workspace / "recorded", workspace / "eager");
}

// Pictures' values overflow f16 as soon as the weights are large.
TEST(EmulatedRun, DivergingStopsBeforeTheUpdateAndKeepsTheCheckpoint) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny(
      "run", with(kEmulated, {"--epochs", "20", "--lr", "1e6", "--lr-scheduler", "constant", "--precision", "fp16",
                              "--checkpoint-steps", "1", "--shapes-train", "64"}));
  EXPECT_EQ(result.exit_code, 7) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("training: the "), HasSubstr(" in step "), HasSubstr("samples "),
                                HasSubstr("; the first in the network that is not finite is ")));
  const NewestCheckpoint newest = newest_valid_checkpoint(workspace / "run" / "checkpoints");
  ASSERT_TRUE(newest.directory);
  EXPECT_EQ(newest.step, read_json(workspace / "run" / "summary.json").at("steps"));
}

// In f32 the statistics overflow before the loss does.
TEST(EmulatedRun, WhatIsNotFiniteIsNotSaved) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny(
      "run", with(kEmulated, {"--epochs", "20", "--lr", "1e6", "--lr-scheduler", "constant", "--wd", "10", "--momentum",
                              "0.99", "--checkpoint-steps", "1", "--shapes-train", "64"}));
  EXPECT_EQ(result.exit_code, 7) << result.err;
  EXPECT_THAT(result.err, HasSubstr("is not finite after step 3; nothing was saved"));
  EXPECT_EQ(newest_valid_checkpoint(workspace / "run" / "checkpoints").step, 2);
}

// What the message advises shows the same again.
TEST(Replay, ShowsTheLargestValuesOfTheBatchThatDiverged) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny(
      "run", {"--epochs", "20", "--lr", "1e6", "--lr-scheduler", "constant", "--wd", "10", "--momentum", "0.99"});
  ASSERT_EQ(result.exit_code, 7) << result.err;
  ASSERT_THAT(result.err, HasSubstr("/run/failed-batch.safetensors shows the largest values of each layer"));
  const size_t begin = result.err.find("not finite is ") + 14;
  const std::string first = result.err.substr(begin, result.err.find(';', begin) - begin);
  const CommandResult replay = workspace.run({"--replay", "run/failed-batch.safetensors"});
  EXPECT_EQ(replay.exit_code, 7) << replay.err;
  EXPECT_THAT(replay.out, AllOf(HasSubstr("\nconv1+bn1 "), HasSubstr(" not finite"),
                                HasSubstr("first not finite: " + first + "\n")));
}

// Rounded operands: another loss than in fp32.
TEST(Tf32, TrainsOnTheEmulatedDeviceAndIsRefusedOnTheCpu) {
  Workspace workspace;
  double loss[2] = {};
  for (const bool tf32 : {false, true}) {
    const std::string name = tf32 ? "tf32" : "fp32";
    const CommandResult result = workspace.run_tiny(
        name, with(kEmulated, {"--precision", name, "--max-steps", "2", "--shapes-train", "32", "--lr", "0.01"}));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    loss[tf32] = read_json(workspace / name / "summary.json").at("final_val_loss");
  }
  EXPECT_NE(loss[0], loss[1]);
  const CommandResult refused = workspace.run_tiny("cpu", {"--precision", "tf32", "--device", "cpu"});
  EXPECT_EQ(refused.exit_code, static_cast<int>(ErrorKind::device));
  EXPECT_THAT(refused.err, HasSubstr("has no TF32 arithmetic; use --precision fp32, or --device cuda"));
}

TEST(Fp16, IsRefusedOnTheCpu) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny("run", {"--precision", "fp16", "--device", "cpu"});
  EXPECT_EQ(result.exit_code, static_cast<int>(ErrorKind::device));
  EXPECT_THAT(result.err, HasSubstr("computes in fp32 and bf16; use one of these, or --device cuda"));
}

TEST(EmulatedRun, RecordedStepsOfSeveralBatchesGiveTheSameBits) {
  Workspace workspace;
  const auto arguments = [&](const std::string& name) {
    return workspace.tiny(name, with(kEmulated, {"--epochs", "1", "--batch-size", "8", "--grad-accum-steps", "2"}));
  };
  const CommandResult recorded = workspace.run(arguments("recorded"));
  const CommandResult eager = workspace.run(arguments("eager"), {.environment = {{"ENGINE_CUDA_GRAPH", "0"}}});
  ASSERT_EQ(recorded.exit_code, 0) << recorded.err;
  ASSERT_EQ(eager.exit_code, 0) << eager.err;
  EXPECT_THAT(recorded.err, ::testing::Not(HasSubstr("could not be recorded")));
  expect_same_result(workspace / "recorded", workspace / "eager");
}

TEST(ForceImpl, IsRefusedWhereThereIsNoSuchImplementation) {
  Workspace workspace;
  const CommandResult emulated = workspace.run(workspace.tiny("run", with(kEmulated, {"--force-impl", "cudnn"})));
  EXPECT_EQ(emulated.exit_code, static_cast<int>(ErrorKind::device));
  EXPECT_THAT(emulated.err, HasSubstr("--force-impl cudnn: emulated has no cuDNN; install cuDNN 9"));
  const CommandResult cpu = workspace.run_tiny("run", {"--force-impl", "own"});
  EXPECT_EQ(cpu.exit_code, static_cast<int>(ErrorKind::device));
  EXPECT_THAT(cpu.err, HasSubstr("--force-impl own: this device has no such choice; leave it out"));
}

TEST(EmulatedRun, AutoTakesAnotherDevice) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny("run", {"--device", "auto", "--max-steps", "1"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, ::testing::Not(HasSubstr("emulated: ")));
}

// What the message advises, works.
TEST(OutOfMemory, NamesABatchThatFits) {
  Workspace workspace;
  const CommandOptions small = {.environment = {{"ENGINE_EMULATOR_MEMORY", "40000000"}}};
  const auto run = [&](const std::string& name, int64_t batch) {
    return workspace.run(workspace.tiny(name, with(kEmulated, {"--batch-size", std::to_string(batch), "--max-steps",
                                                               "3", "--shapes-train", "512", "--epochs", "1"})),
                         small);
  };
  const CommandResult failed = run("failed", 128);
  ASSERT_EQ(failed.exit_code, static_cast<int>(ErrorKind::memory)) << failed.err;
  const std::string before = "images: about ", behind = " pictures would fit instead of 128";
  const size_t begin = failed.err.find(before), end = failed.err.find(behind);
  ASSERT_TRUE(begin != std::string::npos && end != std::string::npos) << failed.err;
  const int64_t largest = std::stoll(failed.err.substr(begin + before.size()));
  EXPECT_GT(largest, 8);
  const CommandResult advised = run("advised", largest);
  EXPECT_EQ(advised.exit_code, 0) << advised.err;
}

TEST(AutoBatch, HalvesTheBatchUntilItFits) {
  Workspace workspace;
  const CommandOptions small = {.environment = {{"ENGINE_EMULATOR_MEMORY", "20000000"}}};
  const auto flags = with(kEmulated, {"--batch-size", "64", "--auto-batch", "--shapes-train", "64", "--epochs", "2"});
  const CommandResult first = workspace.run(workspace.tiny("run", with(flags, {"--max-steps", "1"})), small);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.err, HasSubstr("--auto-batch: 64 pictures at once do not fit into the memory; "));
  const Json config = read_json(workspace / "run" / "run.json").at("config");
  const int64_t batch = config.at("batch_size"), accumulated = config.at("grad_accum_steps");
  EXPECT_LT(batch, 64);
  EXPECT_EQ(batch * accumulated, 64);
  // The same flags go on with what was found.
  const CommandResult rest = workspace.run(with(workspace.tiny("run", flags), {"--resume", "auto"}), small);
  EXPECT_EQ(rest.exit_code, 0) << rest.err;
  EXPECT_THAT(rest.err, HasSubstr("resumed  step 1 of epoch 2"));
}

TEST(AutoBatch, KeepsABatchThatFits) {
  Workspace workspace;
  const CommandResult plain = workspace.run_tiny("plain", {"--epochs", "1"});
  const CommandResult automatic = workspace.run_tiny("automatic", {"--epochs", "1", "--auto-batch"});
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  ASSERT_EQ(automatic.exit_code, 0) << automatic.err;
  expect_same_result(workspace / "automatic", workspace / "plain");
}

// Of the batch norms, too: bit by bit.
TEST(ExactAccumulation, IsOneLargeBatch) {
  Workspace workspace;
  for (const char* device : {"cpu", "emulated"}) {
    SCOPED_TRACE(device);
    const std::string name = device;
    const auto run = [&](const std::string& to, const std::vector<std::string>& more) {
      const CommandResult result = workspace.run(workspace.tiny(
          to, with(with(kEmulated, {"--device", device, "--epochs", "1", "--shapes-train", "32"}), more)));
      ASSERT_EQ(result.exit_code, 0) << result.err;
    };
    run(name + "-large", {"--batch-size", "16"});
    run(name + "-exact", {"--batch-size", "8", "--grad-accum-steps", "2", "--accum-bn", "exact"});
    expect_same_result(workspace / (name + "-exact"), workspace / (name + "-large"));
    if (name != "cpu") continue;
    run("plain", {"--batch-size", "8", "--grad-accum-steps", "2"});
    EXPECT_NE(metrics(workspace / "plain"), metrics(workspace / "cpu-large"));
  }
}

TEST(OutOfMemory, EndsWithItsExitCodeAndWhoHasTheMemory) {
  Workspace workspace;
  const CommandResult result =
      workspace.run(workspace.tiny("run", kEmulated), {.environment = {{"ENGINE_EMULATOR_MEMORY", "6000000"}}});
  EXPECT_EQ(result.exit_code, static_cast<int>(ErrorKind::memory)) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("emulated: out of memory: "), HasSubstr(" MiB requested, "),
                                HasSubstr("use a smaller --batch-size or smaller images")));
}

// A GPU that falls off the bus, or whose memory fails: nothing that it still says is worth saving.
TEST(LostDevice, EndsWithItsExitCodeAndSavesNothingMore) {
  Workspace workspace;
  const std::vector<std::string> settings =
      with(kEmulated, {"--epochs", "1", "--checkpoint-steps", "1", "--train-crop-size", "8", "--val-crop-size", "8",
                       "--val-resize-size", "8", "--batch-size", "4", "--shapes-train", "16", "--shapes-val", "10"});
  ASSERT_EQ(workspace.run_tiny("whole", settings).exit_code, 0);
  int64_t saved = 0;
  for (const char* work : {"0", "1000"}) {  // before the first step, and after some
    SCOPED_TRACE(work);
    fs::remove_all(workspace / "run");
    const CommandResult result =
        workspace.run(workspace.tiny("run", settings), {.environment = {{"ENGINE_EMULATOR_LOSE_AFTER", work}}});
    ASSERT_EQ(result.exit_code, static_cast<int>(ErrorKind::device)) << result.err;
    EXPECT_THAT(result.err, AllOf(HasSubstr("emulator error 719"), HasSubstr("run it again, with --resume auto"),
                                  HasSubstr("hardware fault")));
    const NewestCheckpoint newest = newest_valid_checkpoint(workspace / "run" / "checkpoints");
    EXPECT_THAT(newest.skipped, ::testing::IsEmpty());
    saved = newest.step;
  }
  EXPECT_GE(saved, 1);
  const CommandResult rest = workspace.run({"--output-dir", "run", "--resume", "auto"});
  ASSERT_EQ(rest.exit_code, 0) << rest.err;
  expect_same_result(workspace / "run", workspace / "whole");
}

TEST(Doctor, TellsOfEveryDevice) {
  Workspace workspace;
  const CommandResult result = workspace.run({"--doctor"});
  EXPECT_THAT(result.out + result.err, AllOf(HasSubstr("\ncuda "), HasSubstr("\nemulated ")));
}

}  // namespace
}  // namespace engine::testing
