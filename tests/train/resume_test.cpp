// Each feature that keeps something between two steps: a run that is stopped and goes on comes to the bits of one that
// is not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Feature {
  std::string name;
  std::vector<std::string> flags;
};

void PrintTo(const Feature& feature, std::ostream* out) {
  *out << feature.name;
}

// 4 steps an epoch, 3 epochs; steps so small that their start takes longer.
std::vector<std::string> few_steps(const Workspace& workspace, const std::string& run, const Feature& feature) {
  std::vector<std::string> arguments =
      workspace.tiny(run, {"--train-crop-size", "8", "--shapes-train", "64", "--epochs", "3"});
  arguments.insert(arguments.end(), feature.flags.begin(), feature.flags.end());
  return arguments;
}

void go_on(Workspace& workspace, const std::string& run, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"--output-dir", run, "--resume", "auto", "--strict-resume"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const CommandResult result = workspace.run(arguments);
  ASSERT_EQ(result.exit_code, 0) << result.err;
}

class ResumeOf : public ::testing::TestWithParam<Feature> {};

TEST_P(ResumeOf, GivesTheSameBits) {
  Workspace workspace;
  const CommandResult whole = workspace.run(few_steps(workspace, "whole", GetParam()));
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  std::vector<std::string> first = few_steps(workspace, "parts", GetParam());
  first.insert(first.end(), {"--max-steps", "2", "-j", "0"});
  ASSERT_EQ(workspace.run(first).exit_code, 0);
  go_on(workspace, "parts", {"--max-steps", "5", "-j", "3"});
  go_on(workspace, "parts", {});
  expect_same_result(workspace / "parts", workspace / "whole");
}

INSTANTIATE_TEST_SUITE_P(
    Cpu, ResumeOf,
    ::testing::Values(Feature{"nesterov", {"--opt", "sgd_nesterov"}},
                      Feature{"accumulation", {"--grad-accum-steps", "2", "--batch-size", "8"}},
                      Feature{"exact_accumulation",
                              {"--grad-accum-steps", "2", "--batch-size", "8", "--accum-bn", "exact"}},
                      Feature{"schedule", {"--lr-scheduler", "cosine", "--lr-warmup-epochs", "1.5"}},
                      Feature{"random_resized_crops", {"--crop", "rrc", "--label-smoothing", "0.1"}},
                      Feature{"binary_loss", {"--loss", "bce"}}, Feature{"adamw", {"--opt", "adamw"}},
                      Feature{"lamb_clipped", {"--opt", "lamb", "--clip-grad-norm", "0.5"}},
                      Feature{"lars", {"--opt", "lars"}},
                      Feature{"average", {"--model-ema", "--model-ema-steps", "2", "--model-ema-decay", "0.9"}},
                      Feature{"mixed_pictures",
                              {"--mixup-alpha", "0.2", "--cutmix-alpha", "1", "--auto-augment", "ta_wide",
                               "--random-erase", "0.5", "--ra-reps", "2"}}),
    [](const auto& instance) { return instance.param.name; });

// The GPU's code, whose steps are recorded and replayed. Several features a run, since the emulator is slow.
INSTANTIATE_TEST_SUITE_P(Emulated, ResumeOf,
                         ::testing::Values(Feature{"bf16_nesterov_accumulation",
                                                   {"--device", "emulated", "--precision", "bf16", "--opt",
                                                    "sgd_nesterov", "--grad-accum-steps", "2", "--batch-size", "4",
                                                    "--shapes-train", "32"}},
                                           Feature{"fp16_adamw_average_mixup",
                                                   {"--device", "emulated", "--precision", "fp16", "--opt", "adamw",
                                                    "--model-ema", "--model-ema-steps", "2", "--mixup-alpha", "0.2",
                                                    "--batch-size", "8", "--shapes-train", "32"}}),
                         [](const auto& instance) { return instance.param.name; });

TEST(Resume, AfterEveryStepGivesTheSameBits) {
  Workspace workspace;
  const Feature plain{"plain", {}};
  ASSERT_EQ(workspace.run(few_steps(workspace, "whole", plain)).exit_code, 0);
  std::vector<std::string> first = few_steps(workspace, "parts", plain);
  first.insert(first.end(), {"--max-steps", "1"});
  ASSERT_EQ(workspace.run(first).exit_code, 0);
  for (int step = 2; step <= 12; ++step)
    go_on(workspace, "parts", {"--max-steps", std::to_string(step), "-j", std::to_string(step % 3)});
  go_on(workspace, "parts", {});
  expect_same_result(workspace / "parts", workspace / "whole");
}

}  // namespace
}  // namespace engine::testing
