// Recipes as a user starts them: the real program on tiny data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/train/recipe_book.h"
#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Small enough for any recipe: what is left of it are its optimiser, loss, schedule and augmentation.
std::vector<std::string> tiny_recipe(const std::string& recipe, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {
      "--recipe",          recipe, "--dataset",   "shapes", "--shapes-train",     "160", "--shapes-val",    "16",
      "--batch-size",      "4",    "--max-steps", "20",     "--train-crop-size",  "8",   "--val-crop-size", "8",
      "--val-resize-size", "8",    "--threads",   "1",      "--grad-accum-steps", "1",   "--deterministic"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

class EveryRecipe : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryRecipe, TakesTwentySteps) {
  for (const char* device : {"cpu", "emulated"}) {
    SCOPED_TRACE(device);
    Workspace workspace;
    const CommandResult result =
        workspace.run(tiny_recipe(GetParam(), {"--model", "resnet20", "--device", device, "--output-dir", "run"}));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(read_json(workspace / "run" / "summary.json").at("steps"), 20);
    EXPECT_EQ(read_json(workspace / "run" / "run.json").at("config").at("recipe"), GetParam());
  }
}

std::vector<std::string> all_recipes() {
  std::vector<std::string> names;
  for (const Recipe& recipe : recipes()) names.push_back(recipe.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Recipes, EveryRecipe, ::testing::ValuesIn(all_recipes()), [](const auto& one) {
  std::string name = one.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(RecipeCommand, FlagsGoBeforeTheRecipe) {
  Workspace workspace;
  const CommandResult result = workspace.run(
      tiny_recipe("dle-50", {"--model", "resnet20", "--lr", "0.01", "--epochs", "25", "--output-dir", "run"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json config = read_json(workspace / "run" / "run.json").at("config");
  EXPECT_EQ(config.at("lr"), 0.01);
  EXPECT_EQ(config.at("momentum"), 0.875);
  EXPECT_EQ(config.at("lr_warmup_epochs"), 4);  // 8 of 50
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("paper-comparable: no (the pictures are drawn by this program)"), HasSubstr(" ± ")));
}

TEST(RecipeCommand, AsksForTheDataThatItIsMadeFor) {
  Workspace workspace;
  const CommandResult result = workspace.run({"--recipe", "tv-v1"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("--recipe tv-v1 trains on ImageNet-1k: add --data-path DIR, or --dataset shapes"));
}

TEST(RecipeCommand, ARunOfARecipeIsResumedAsItBegan) {
  Workspace workspace;
  const auto run = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"--recipe",     "paper-cifar", "--epochs",       "1",  "--output-dir",   name,
                                          "--dataset",    "shapes",      "--shapes-train", "64", "--shapes-val",   "16",
                                          "--batch-size", "16",          "--threads",      "1",  "--deterministic"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const CommandResult result = workspace.run(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  };
  run("whole", {});
  run("parts", {"--max-steps", "2"});
  run("parts", {"--resume", "auto"});
  expect_same_result(workspace / "parts", workspace / "whole");
}

TEST(Experiment, TrainsItsNetsAndDrawsThemTogether) {
  Workspace workspace;
  const std::vector<std::string> arguments = {
      "--recipe", "degradation",  "--dataset",    "shapes", "--shapes-train", "32", "--shapes-val",    "16",
      "--budget", "0.01",         "--batch-size", "16",     "--threads",      "1",  "--deterministic", "--print-freq",
      "1",        "--output-dir", "study"};
  const CommandResult result = workspace.run(arguments);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("net 4/4"), HasSubstr("training/test error: plain20 "), HasSubstr("; resnet56 has ")));
  const std::string page = read_text(workspace / "study" / "report.html");
  EXPECT_THAT(page, AllOf(HasSubstr("Plain nets"), HasSubstr("Residual nets"), HasSubstr("resnet56 training"),
                          HasSubstr("plain56 test")));
  EXPECT_THAT(workspace.run(arguments).err, HasSubstr("already holds an experiment"));

  // One net was lost: only that one is trained again, and for as long as the others.
  std::filesystem::remove_all(workspace / "study" / "resnet56");
  std::vector<std::string> again = arguments;
  again.insert(again.end(), {"--resume", "auto"});
  const CommandResult resumed = workspace.run(again);
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, AllOf(HasSubstr("nothing to do"), Not(HasSubstr("budget   "))));
  EXPECT_EQ(read_json(workspace / "study" / "resnet56" / "summary.json").at("epochs"),
            read_json(workspace / "study" / "plain20" / "summary.json").at("epochs"));
}

TEST(CompareTo, DrawsTheOtherRunsCurve) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("before").exit_code, 0);
  const CommandResult result = workspace.run_tiny("after", {"--compare-to", "before", "--lr", "0.01"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err,
              ::testing::ContainsRegex("before had [0-9.]+% after 2 epochs, this run has [0-9.]+% after 2: "));
  const std::string page = read_text(workspace / "after" / "report.html");
  EXPECT_THAT(page, AllOf(HasSubstr("data-name=\"before\""), HasSubstr("data-name=\"before training\""),
                          HasSubstr("alt=\"filter 15\""), HasSubstr("computing")));
  EXPECT_THAT(read_text(workspace / "before" / "report.html"), Not(HasSubstr("data-name=\"before\"")));
}

TEST(Budget, ShortensARun) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny(
      "run", {"--budget", "0.01", "--epochs", "100000", "--lr-scheduler", "steplr", "--lr-step-size", "50000"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json config = read_json(workspace / "run" / "run.json").at("config");
  EXPECT_LT(config.at("epochs"), 1000);
  EXPECT_EQ(config.at("lr_step_size").get<double>(), config.at("epochs").get<double>() / 2);
}

}  // namespace
}  // namespace engine::testing
