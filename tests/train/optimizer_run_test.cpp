// Whole runs with each optimiser, and with the average of the weights: what they keep, and that they go on from it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

using ::testing::HasSubstr;
using Flags = std::vector<std::string>;

Flags with(Flags flags, const Flags& more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

struct Case {
  const char* name;
  Flags flags;
};

class OptimiserRun : public ::testing::TestWithParam<Case> {};

// In the middle of an epoch, and between two updates of the average.
TEST_P(OptimiserRun, GoesOnBitForBit) {
  Workspace workspace;
  const CommandResult whole = workspace.run_tiny("whole", GetParam().flags);
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  ASSERT_EQ(workspace.run_tiny("parts", with(GetParam().flags, {"--max-steps", "2"})).exit_code, 0);
  const CommandResult last = workspace.run({"--output-dir", (workspace / "parts").string(), "--resume", "auto"});
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_THAT(last.err, ::testing::Not(HasSubstr("warning")));
  expect_same_result(workspace / "parts", workspace / "whole");
}

const Flags kAverage = {"--model-ema", "--model-ema-steps", "2", "--model-ema-decay", "0.9"};
const Flags kEmulated = {"--device",       "emulated", "--train-crop-size", "8",  "--val-crop-size", "8",
                         "--shapes-train", "32",       "--shapes-val",      "10", "--batch-size",    "8"};

INSTANTIATE_TEST_SUITE_P(
    Optimisers, OptimiserRun,
    ::testing::Values(Case{"adamw", {"--opt", "adamw"}}, Case{"lars", {"--opt", "lars", "--nesterov"}},
                      Case{"lamb", {"--opt", "lamb", "--clip-grad-norm", "0.5", "--grad-accum-steps", "2"}},
                      Case{"average", with(kAverage, {"--lr-warmup-epochs", "1"})},
                      Case{"emulated", with(kEmulated, with(kAverage, {"--opt", "lamb"}))}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(OptimiserRuns, DoNotGoOnFromTheStateOfAnother) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "1"}).exit_code, 0);
  const CommandResult result =
      workspace.run({"--output-dir", (workspace / "run").string(), "--resume", "auto", "--opt", "adamw"});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.err, HasSubstr("AdamW::load_state: momentum_buffer.conv1.weight is nothing that this optimiser "
                                    "keeps for this model; was it saved with another --opt?"));
}

TEST(AverageRuns, TestItBesideTheWeightsAndSaveItAlone) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny("run", kAverage);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("  ema "));
  const Json last = metrics(workspace / "run").back();
  EXPECT_NE(last.at("ema_loss"), last.at("loss"));
  EXPECT_EQ(read_json(workspace / "run" / "summary.json").at("final_val_ema_acc1"), last.at("ema_acc1"));

  const Flags data = {"--shapes-train", "96", "--shapes-val",    "20",           "--batch-size", "16",
                      "--threads",      "1",  "--deterministic", "--log-format", "jsonl",        "--test-only"};
  const std::string file = (workspace / "run" / "checkpoints" / "last" / "model_ema.safetensors").string();
  const CommandResult alone = workspace.run(with(data, {"--weights", file}));
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  EXPECT_EQ(Json::parse(alone.out).at("loss"), last.at("ema_loss"));
  const CommandResult both = workspace.run(with(data, {"--resume", (workspace / "run").string()}));
  ASSERT_EQ(both.exit_code, 0) << both.err;
  const size_t second = both.out.find('\n') + 1;
  EXPECT_EQ(Json::parse(both.out.substr(0, second)).at("loss"), last.at("loss"));
  const Json average = Json::parse(both.out.substr(second));
  EXPECT_EQ(average.at("event"), "test_ema");
  EXPECT_EQ(average.at("loss"), last.at("ema_loss"));
}

// A run that had no average gets one from the weights that it has come to.
TEST(AverageRuns, BeginWhereTheyAreAskedFor) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "6"}).exit_code, 0);
  const CommandResult result =
      workspace.run(with({"--output-dir", (workspace / "run").string(), "--resume", "auto"}, kAverage));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(metrics(workspace / "run").back().contains("ema_acc1"));
}

TEST(ClippedRuns, ShowTheNormBeforeItWasClipped) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny("run", {"--clip-grad-norm", "0.001", "--epochs", "1"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("gradient clipped to 0.001"));
  EXPECT_GT(metrics(workspace / "run").front().at("grad_norm").get<double>(), 0.01);
}

}  // namespace
}  // namespace engine::testing
