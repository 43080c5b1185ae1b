// resnet-train --selftest resume: passes where resuming is exact, and names what is not.
#include "tools/selftest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Selftest, PassesAndLeavesNothing) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny("run", {"--selftest", "resume"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("selftest resume: passed"));
  EXPECT_FALSE(fs::exists(workspace / "run"));
  for (const auto& entry : fs::directory_iterator(workspace.path()))
    EXPECT_THAT(entry.path().filename().string(), ::testing::Not(HasSubstr("selftest")));
}

TEST(Selftest, MakesRunsOfItsOwnOnly) {
  Workspace workspace;
  const CommandResult refused = workspace.run_tiny("run", {"--selftest", "resume", "--resume"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("--selftest makes runs of its own"));
}

TEST(Selftest, EndsAsTheRunThatCannotBeMade) {
  Workspace workspace;
  const CommandResult result = workspace.run_tiny("run", {"--selftest", "resume", "--weights", "absent"});
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err, HasSubstr("absent does not exist"));
}

TEST(Selftest, NamesWhatDiffers) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "2"}).exit_code, 0);
  ASSERT_EQ(workspace.run_tiny("other", {"--max-steps", "2", "--lr", "0.03"}).exit_code, 0);
  EXPECT_THAT(tools::compare_runs(workspace / "run", workspace / "run"), IsEmpty());
  EXPECT_THAT(tools::compare_runs(workspace / "run", workspace / "other"),
              ElementsAre(HasSubstr("tensors of the network, the first is "),
                          HasSubstr("tensors of the optimiser, the first is "), HasSubstr("the position: "),
                          HasSubstr("metrics.jsonl")));
}

}  // namespace
}  // namespace engine::testing
