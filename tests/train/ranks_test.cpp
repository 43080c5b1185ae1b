// Trainings of several ranks: what they compute, and what becomes of the others when one fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <memory>

#include "engine/dist/socket.h"
#include "engine/io/safetensors.h"
#include "tests/models/parity.h"
#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// Of a run in which the ranks together take 16 pictures a step.
Words arguments(const Workspace& space, const std::string& run, int ranks, const Words& more = {}) {
  return space.tiny(run, Words{"--batch-size", std::to_string(16 / ranks), "--workers", "1"} + more);
}

CommandOptions by_mpirun(int ranks) {
  return {.environment = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                          {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                          {"OMPI_MCA_plm", "isolated"},
                          {"ASAN_OPTIONS", "detect_leaks=0"},  // Open MPI frees not all of its own
                          {"OMPI_MCA_rmaps_base_oversubscribe", "1"}},
          .launcher = {"mpirun", "-n", std::to_string(ranks), "--oversubscribe", "--bind-to", "none"}};
}

bool has_mpi() {
  return fs::exists(fs::path(RESNET_TRAIN).parent_path() / "libengine_mpi.so") &&
         std::system("command -v mpirun >/dev/null") == 0;
}

// A rank that torchrun might have started. Each has a folder of its own for what it says.
std::unique_ptr<Command> start_rank(const Workspace& space, int rank, int ranks, int port, const Words& words) {
  const fs::path folder = space / ("rank" + std::to_string(rank));
  fs::create_directories(folder);
  return std::make_unique<Command>(folder, words,
                                   CommandOptions{.environment = {{"RANK", std::to_string(rank)},
                                                                  {"WORLD_SIZE", std::to_string(ranks)},
                                                                  {"LOCAL_RANK", std::to_string(rank)},
                                                                  {"LOCAL_WORLD_SIZE", std::to_string(ranks)},
                                                                  {"MASTER_ADDR", "localhost"},
                                                                  {"MASTER_PORT", std::to_string(port)}}});
}

int free_port() {
  std::string error;
  return dist::port_of(dist::listen_on(0, &error));
}

std::vector<std::unique_ptr<Command>> start_ranks(const Workspace& space, int ranks, const Words& words) {
  const int port = free_port();
  std::vector<std::unique_ptr<Command>> commands;
  for (int rank = 0; rank < ranks; ++rank) commands.push_back(start_rank(space, rank, ranks, port, words));
  return commands;
}

std::vector<CommandResult> run_ranks(const Workspace& space, int ranks, const Words& words) {
  std::vector<CommandResult> results;
  for (const auto& command : start_ranks(space, ranks, words)) results.push_back(command->wait());
  return results;
}

void expect_success(const std::vector<CommandResult>& results) {
  for (const CommandResult& result : results) EXPECT_EQ(result.exit_code, 0) << result.err;
}

using Values = std::map<std::string, std::vector<float>>;

// The tensors of a file but for running statistics and counts.
Values trained(const fs::path& file) {
  Values values;
  const SafetensorsFile tensors = SafetensorsFile::open(file);
  for (const TensorView& view : tensors.entries()) {
    if (view.name.find("running") != std::string::npos || view.name.find("tracked") != std::string::npos) continue;
    const auto* const begin = reinterpret_cast<const float*>(view.data.data());
    values[view.name].assign(begin, begin + view.data.size() / sizeof(float));
  }
  return values;
}

double distance(const Values& a, const Values& b) {
  double sum = 0;
  for (const auto& [name, values] : a)
    for (size_t i = 0; i < values.size(); ++i) sum += std::pow(double{values[i]} - double{b.at(name)[i]}, 2);
  return std::sqrt(sum);
}

fs::path momentum(const fs::path& run) {
  return run / "checkpoints" / "last" / "trainer.safetensors";
}
fs::path weights(const fs::path& run) {
  return run / "checkpoints" / "last" / "model.safetensors";
}

class Ranks : public ::testing::Test {
 protected:
  Workspace space_;
};

// Gradients are the same sums of the same batches in the same order: bit for bit.
TEST_F(Ranks, TakeTheStepsOfOneThatAccumulates) {
  for (const int ranks : {2, 4}) {
    const std::string one = "one" + std::to_string(ranks), all = "all" + std::to_string(ranks);
    EXPECT_EQ(space_.run(arguments(space_, one, ranks, {"--grad-accum-steps", std::to_string(ranks)})).exit_code, 0);
    expect_success(run_ranks(space_, ranks, arguments(space_, all, ranks)));
    EXPECT_TRUE(trained(weights(space_ / all)) == trained(weights(space_ / one))) << ranks << " ranks";
    EXPECT_TRUE(trained(momentum(space_ / all)) == trained(momentum(space_ / one))) << ranks << " ranks";
  }
}

TEST_F(Ranks, GiveTheSameBitsByMpiAndTcpAndFromRunToRun) {
  if (!has_mpi()) GTEST_SKIP() << "there is no libengine_mpi.so, or no mpirun";
  for (const char* run : {"mpi", "again"}) {
    const CommandResult result = space_.run(arguments(space_, run, 2), by_mpirun(2));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("2 ranks by MPI, 8 pictures a step on each"));
  }
  expect_success(run_ranks(space_, 2, arguments(space_, "tcp", 2)));
  expect_same_result(space_ / "again", space_ / "mpi");
  expect_same_result(space_ / "tcp", space_ / "mpi");
}

// One step: later ones make any rounding larger. Two right computations that add in other orders, the CPU's and the
// kernels', say how far apart they may be (tests/models/parity.h).
TEST_F(Ranks, WithSyncBnTakeTheStepOfOneWithTheWholeBatch) {
  const Words one_step = {"--max-steps", "1", "--shapes-val", "10"};
  EXPECT_EQ(space_.run(arguments(space_, "one", 1, one_step)).exit_code, 0);
  EXPECT_EQ(space_.run(arguments(space_, "kernels", 1, one_step + Words{"--device", "emulated"})).exit_code, 0);
  const Values one = trained(momentum(space_ / "one")), kernels = trained(momentum(space_ / "kernels"));
  const double allowed = parity::kMargin * distance(one, kernels);
  EXPECT_GT(allowed, 0);
  const Words synchronised = one_step + Words{"--sync-bn"};
  for (const int ranks : {2, 4}) {
    const std::string run = "sync" + std::to_string(ranks);
    const Words words = arguments(space_, run, ranks, synchronised);
    if (has_mpi()) {
      const CommandResult result = space_.run(words, by_mpirun(ranks));
      EXPECT_EQ(result.exit_code, 0) << result.err;
    } else {
      expect_success(run_ranks(space_, ranks, words));
    }
    EXPECT_LE(distance(trained(momentum(space_ / run)), one), allowed) << ranks << " ranks";
  }
  expect_success(run_ranks(space_, 2, arguments(space_, "sync", 2, synchronised + Words{"--device", "emulated"})));
  EXPECT_LE(distance(trained(momentum(space_ / "sync")), kernels), allowed) << "emulated";
  expect_success(run_ranks(space_, 2, arguments(space_, "apart", 2, one_step)));
  EXPECT_GT(distance(trained(momentum(space_ / "apart")), one), allowed) << "without --sync-bn";
}

TEST_F(Ranks, EvaluateEachPictureOnce) {
  EXPECT_EQ(space_.run(arguments(space_, "run", 1, {"--max-steps", "1"})).exit_code, 0);
  const Words test = {"--test-only",
                      "--resume",
                      (space_ / "run").string(),
                      "--shapes-val",
                      "23",
                      "--val-batch-size",
                      "5",
                      "--log-format",
                      "jsonl",
                      "--threads",
                      "1",
                      "--shapes-train",
                      "96"};
  const auto outcome = [](const CommandResult& result) {
    const size_t begin = result.out.find(R"({"event":"test")");
    Json json = begin == std::string::npos ? Json{} : Json::parse(result.out.substr(begin));
    json.erase("seconds");
    json.erase("ts");
    return json;
  };
  const Json alone = outcome(space_.run(test));
  EXPECT_EQ(alone["samples"], 23);
  for (const int ranks : {2, 3}) {
    const std::vector<CommandResult> results = run_ranks(space_, ranks, test);
    expect_success(results);
    EXPECT_EQ(outcome(results[0]), alone) << ranks << " ranks";
    EXPECT_EQ(results[1].out, "") << "only rank 0 tells";
  }
}

TEST_F(Ranks, StopTogetherAndGoOnWithTheSameBits) {
  const Words words = {"--epochs", "30", "--checkpoint-minutes", "0", "--max-steps", "12"};
  expect_success(run_ranks(space_, 2, arguments(space_, "unbroken", 2, words)));
  auto commands = start_ranks(space_, 2, arguments(space_, "stopped", 2, words));
  ASSERT_TRUE(commands[0]->wait_for_line(space_ / "stopped", "train", 3));
  commands[1]->signal(SIGTERM);  // not the one that writes
  for (const auto& command : commands) {
    const CommandResult result = command->wait();
    EXPECT_EQ(result.exit_code, 75) << result.err;
  }
  expect_success(run_ranks(space_, 2, arguments(space_, "stopped", 2, words + Words{"--resume", "auto"})));
  expect_same_result(space_ / "stopped", space_ / "unbroken");
}

TEST_F(Ranks, GoOnWithTheSameBitsWhateverTheyTrainWith) {
  const Words words = {"--sync-bn",
                       "--grad-accum-steps",
                       "2",
                       "--model-ema",
                       "--model-ema-steps",
                       "1",
                       "--mixup-alpha",
                       "0.2",
                       "--cutmix-alpha",
                       "1",
                       "--random-erase",
                       "0.3",
                       "--opt",
                       "lamb",
                       "--clip-grad-norm",
                       "1",
                       "--loss",
                       "bce",
                       "--label-smoothing",
                       "0.1"};
  expect_success(run_ranks(space_, 2, arguments(space_, "unbroken", 2, words)));
  for (const char* steps : {"2", "3", "4"}) {
    const Words more = steps == std::string("2") ? Words{} : Words{"--resume", "auto"};
    expect_success(run_ranks(space_, 2, arguments(space_, "stopped", 2, words + more + Words{"--max-steps", steps})));
  }
  expect_success(run_ranks(space_, 2, {"--output-dir", (space_ / "stopped").string(), "--resume", "auto"}));
  expect_same_result(space_ / "stopped", space_ / "unbroken");
}

// Six steps an epoch; the third is the last before the change.
TEST_F(Ranks, AnotherNumberOfThemGoesOnWithTheSamePicturesAStep) {
  expect_success(run_ranks(space_, 2, arguments(space_, "run", 2, {"--max-steps", "3"})));
  const Words resume = {"--output-dir", (space_ / "run").string(), "--resume", "auto"};
  const std::vector<CommandResult> results = run_ranks(space_, 4, resume + Words{"--max-steps", "8"});
  expect_success(results);
  EXPECT_THAT(results[0].err,
              HasSubstr("resumed by 4 ranks instead of 2: batches of 4 on each keep 16 pictures together"));
  const CommandResult alone = space_.run(resume);
  EXPECT_EQ(alone.exit_code, 0) << alone.err;
  EXPECT_THAT(alone.err, HasSubstr("batches of 16 on each keep 16 pictures together"));
  EXPECT_EQ(read_json(space_ / "run" / "summary.json").at("steps"), 12);
  EXPECT_EQ(run_ranks(space_, 4, resume + Words{"--batch-size", "16"})[0].exit_code, 4) << "64 pictures a step";
}

TEST_F(Ranks, AKilledOneEndsTheOthers) {
  auto commands = start_ranks(space_, 3, arguments(space_, "run", 4, {"--epochs", "10000", "--comm-timeout", "30"}));
  ASSERT_TRUE(commands[0]->wait_for_line(space_ / "run", "train", 2));
  commands[1]->signal(SIGKILL);
  for (const size_t rank : {0, 2}) {
    const CommandResult result = commands[rank]->wait();
    EXPECT_EQ(result.exit_code, 8);
    EXPECT_THAT(result.err, AllOf(HasSubstr("rank 1 (process "), HasSubstr("has died")));
  }
}

TEST_F(Ranks, RankZeroMayBeTheOneThatIsKilled) {
  auto commands = start_ranks(space_, 2, arguments(space_, "run", 2, {"--epochs", "10000", "--comm-timeout", "30"}));
  ASSERT_TRUE(commands[0]->wait_for_line(space_ / "run", "train", 2));
  commands[0]->signal(SIGKILL);
  const CommandResult result = commands[1]->wait();
  EXPECT_EQ(result.exit_code, 8);
  EXPECT_THAT(result.err, HasSubstr("rank 0 has died"));
}

// As with a cable pulled out: nothing closes its connections.
TEST_F(Ranks, ASilentOneEndsTheOthers) {
  auto commands = start_ranks(space_, 3, arguments(space_, "run", 4, {"--epochs", "10000", "--comm-timeout", "3"}));
  ASSERT_TRUE(commands[0]->wait_for_line(space_ / "run", "train", 2));
  commands[2]->signal(SIGSTOP);
  for (const size_t rank : {0, 1}) {
    const CommandResult result = commands[rank]->wait();
    EXPECT_EQ(result.exit_code, 8);
    EXPECT_THAT(result.err, AllOf(HasSubstr("rank 2 (process "), HasSubstr("has given no sign of life for 3 s")));
  }
  commands[2]->signal(SIGCONT);
  EXPECT_EQ(commands[2]->wait().exit_code, 8);
}

TEST_F(Ranks, AKilledOneEndsThoseOfMpirun) {
  if (!has_mpi()) GTEST_SKIP() << "there is no libengine_mpi.so, or no mpirun";
  write_text(space_ / "start",
             "trap '' TERM\necho $$ >pid.$OMPI_COMM_WORLD_RANK\n\"$@\"\n"
             "echo $? >code.$OMPI_COMM_WORLD_RANK\nsleep 0.2\n");
  CommandOptions options = by_mpirun(3);
  for (const char* word : {"bash", "start"}) options.launcher.emplace_back(word);
  Command command(space_.path(), arguments(space_, "run", 4, {"--epochs", "10000", "--comm-timeout", "30"}), options);
  ASSERT_TRUE(command.wait_for_line(space_ / "run", "train", 2));
  const std::string shell = read_text(space_ / "pid.1");
  const std::string pid = read_text("/proc/" + shell.substr(0, shell.size() - 1) + "/task/" +
                                    shell.substr(0, shell.size() - 1) + "/children");
  ASSERT_EQ(::kill(std::stoi(pid), SIGKILL), 0);
  const CommandResult result = command.wait();
  EXPECT_THAT(result.err, AllOf(HasSubstr("resnet-train: ranks: rank 1 (process "), HasSubstr("has died")));
  EXPECT_EQ(read_text(space_ / "code.0"), "8\n");
  EXPECT_EQ(read_text(space_ / "code.2"), "8\n");
}

TEST_F(Ranks, OtherSettingsOrDataAreRefusedByAll) {
  const int port = free_port();
  const auto first = start_rank(space_, 0, 2, port, arguments(space_, "run", 2));
  const auto second =
      start_rank(space_, 1, 2, port, arguments(space_, "run", 2, {"--lr", "0.5", "--shapes-val", "10"}));
  for (Command* command : {first.get(), second.get()}) {
    const CommandResult result = command->wait();
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, AllOf(HasSubstr("rank 1 differs from rank 0: "), HasSubstr("lr is 0.5, rank 0 has 0.02"),
                                  HasSubstr("validation pictures is 10, rank 0 has 20")));
  }
  EXPECT_FALSE(fs::exists(space_ / "run" / "checkpoints"));
}

TEST_F(Ranks, WhatStopsOneIsToldByTheOthers) {
  EXPECT_EQ(space_.run(arguments(space_, "run", 1, {"--max-steps", "1"})).exit_code, 0);
  const std::vector<CommandResult> results = run_ranks(space_, 2, arguments(space_, "run", 2));
  EXPECT_EQ(results[0].exit_code, 2);
  EXPECT_EQ(results[1].exit_code, 8);
  EXPECT_THAT(results[1].err, AllOf(HasSubstr("rank 0 has stopped: "), HasSubstr("already holds a run")));
}

TEST_F(Ranks, AnExpectedNumberIsChecked) {
  const CommandResult result = space_.run(arguments(space_, "run", 2, {"--ranks", "2"}));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("--ranks 2: 1 was started; start them with mpirun -n, srun -n or torchrun"));
}

TEST_F(Ranks, TheDoctorTellsOfMpi) {
  EXPECT_THAT(space_.run({"--doctor"}).out,
              ::testing::ContainsRegex("\nmpi +(not used: libengine_mpi.so is missing|Open MPI v|MPICH)"));
  EXPECT_THAT(space_.run({"--doctor"}, {.environment = {{"ENGINE_MPI_MODULE", "/nowhere/libengine_mpi.so"}}}).out,
              ::testing::ContainsRegex("\nmpi +not used: /nowhere/libengine_mpi.so cannot be loaded: "));
}

TEST_F(Ranks, WithoutMpiSayHowElseToStartThem) {
  const CommandResult result =
      space_.run(arguments(space_, "run", 2), {.environment = {{"OMPI_COMM_WORLD_RANK", "0"},
                                                               {"OMPI_COMM_WORLD_SIZE", "2"},
                                                               {"ENGINE_MPI_MODULE", "/nowhere/libengine_mpi.so"}}});
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.err, HasSubstr("mpirun started this process, but /nowhere/libengine_mpi.so cannot be loaded"));
}

}  // namespace
}  // namespace engine::testing
