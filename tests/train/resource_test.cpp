// Runs on a machine that runs out of something: memory, threads, open files, a home to write to; and in another
// country.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "engine/error.h"
#include "engine/io/checkpoint.h"
#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

// --- memory ---

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCanReplaceNew = false;  // the sanitizer has its own
#else
constexpr bool kCanReplaceNew = true;
#endif

struct Exhaustion {
  const char* name;
  std::map<std::string, std::string> environment;
};

void PrintTo(const Exhaustion& exhaustion, std::ostream* out) {
  *out << exhaustion.name;
}

class FailingAllocation : public ::testing::TestWithParam<Exhaustion> {};

// One allocation that fails, and a machine from which only crumbs can be had. Without even these the JSON library ends
// the process, since its destructors allocate.
INSTANTIATE_TEST_SUITE_P(
    Ways, FailingAllocation,
    ::testing::Values(Exhaustion{"Once", {{"FAIL_ALLOCATION_SIZE", "1024"}}},
                      Exhaustion{"FromThereOn", {{"FAIL_ALLOCATION_FOREVER", "1"}, {"FAIL_ALLOCATION_SIZE", "4096"}}}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST_P(FailingAllocation, EndsCleanlyAndKeepsTheCheckpoint) {
  if (!kCanReplaceNew) GTEST_SKIP() << "sanitizers have an allocator of their own";
  constexpr int kPlaces = 8;
  Workspace workspace;
  const std::vector<std::string> settings = {"--max-steps",        "6", "--shapes-train",    "64",
                                             "--checkpoint-steps", "1", "--train-crop-size", "8"};
  const auto run = [&](const std::string& name, std::map<std::string, std::string> environment) {
    environment.insert(GetParam().environment.begin(), GetParam().environment.end());
    environment["LD_PRELOAD"] = FAILING_ALLOCATION;
    return workspace.run(workspace.tiny(name, settings), {.environment = environment});
  };
  const CommandResult whole = run("whole", {{"COUNT_ALLOCATIONS", (workspace / "count").string()}});
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  const long all = std::stol(read_text(workspace / "count"));
  ASSERT_GT(all, 100);
  int failed = 0;
  for (int place = 1; place <= kPlaces; ++place) {
    const long at = all * place / (kPlaces + 1);
    SCOPED_TRACE("allocation " + std::to_string(at) + " of " + std::to_string(all));
    fs::remove_all(workspace / "run");
    const CommandResult result = run("run", {{"FAIL_ALLOCATION", std::to_string(at)}});
    failed += result.exit_code != 0;
    // One failure may be survived: a log, a plan that is not kept, another way to compute.
    ASSERT_THAT(result.exit_code, AnyOf(0, static_cast<int>(ErrorKind::memory))) << result.err;
    if (result.exit_code != 0) {
      EXPECT_THAT(result.err, HasSubstr("memory"));
    }
    EXPECT_THAT(newest_valid_checkpoint(workspace / "run" / "checkpoints").skipped, ::testing::IsEmpty());
    if (place % 4 != 0) continue;
    std::vector<std::string> again = workspace.tiny("run", settings);
    again.push_back("--resume");
    const CommandResult rest = workspace.run(again);
    ASSERT_EQ(rest.exit_code, 0) << rest.err;
    expect_same_result(workspace / "run", workspace / "whole");
  }
  EXPECT_GE(failed, kPlaces / 2);
}

TEST(AddressSpace, ThatIsTooSmallEndsTheRunWithExitCodeSix) {
  Workspace workspace;
  const CommandResult result = workspace.run(workspace.tiny("run"), {.limits = {{RLIMIT_AS, int64_t{600} << 20}}});
  EXPECT_THAT(result.exit_code, AnyOf(0, 6)) << result.err;
}

// --- threads, files, folders ---

TEST(Threads, ThatCannotBeStartedAreNamed) {
  Workspace workspace;
  CommandOptions options{.limits = {{RLIMIT_NPROC, 1}}};
  options.as_nobody = ::geteuid() == 0;  // limits on processes do not hold for root
  if (options.as_nobody) fs::permissions(workspace.path(), fs::perms::all);
  const CommandResult result = workspace.run(workspace.tiny("run", {"-j", "2"}), options);
  if (result.exit_code >= 126) GTEST_SKIP() << "the program cannot be started as another user";
  EXPECT_EQ(result.exit_code, 6) << result.err;
  EXPECT_THAT(result.err, HasSubstr("ulimit -u"));
}

TEST(OpenFiles, AreFewOrTheLimitIsNamed) {
  Workspace workspace;
  for (const int64_t limit : {8, 10, 12, 16, 24}) {
    fs::remove_all(workspace / "run");
    const CommandResult result =
        workspace.run(workspace.tiny("run", {"--max-steps", "2"}), {.limits = {{RLIMIT_NOFILE, limit}}});
    EXPECT_LE(result.exit_code, limit < 16 ? 127 : 0) << limit << ": " << result.err;
    if (result.exit_code != 0 && result.exit_code < 126) {
      EXPECT_THAT(result.err, HasSubstr("Too many open files"));
    }
  }
}

TEST(Home, NeedNotExistNorBeWritable) {
  Workspace workspace;
  std::vector<std::string> arguments = workspace.tiny("run", {"--max-steps", "2"});
  std::erase(arguments, "--deterministic");  // so that the measured algorithms look for a place
  const CommandResult result =
      workspace.run(arguments, {.environment = {{"HOME", "/proc/nowhere"}, {"XDG_CACHE_HOME", "/proc/nowhere"}}});
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

// --- elsewhere ---

TEST(Locale, ChangesNoNumber) {
  Workspace workspace;
  const fs::path locale = workspace / "de_DE.UTF-8";
  const std::string command = "localedef -i de_DE -f UTF-8 '" + locale.string() + "' >/dev/null 2>&1";
  if (std::system(command.c_str()) != 0 && !fs::exists(locale / "LC_NUMERIC"))
    GTEST_SKIP() << "no sources of locales on this machine";
  ASSERT_EQ(workspace.run_tiny("plain").exit_code, 0);
  const CommandResult german = workspace.run(
      workspace.tiny("german"), {.environment = {{"LOCPATH", workspace.path().string()}, {"LC_ALL", "de_DE.UTF-8"}}});
  ASSERT_EQ(german.exit_code, 0) << german.err;
  expect_same_result(workspace / "german", workspace / "plain");
  EXPECT_THAT(german.err, Not(HasSubstr("0,02")));
}

}  // namespace
}  // namespace engine::testing
