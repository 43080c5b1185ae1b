// What resnet-train refuses, and that it does so at once: the real program, its exit code and its words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Sanitizers make starting a program slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kRefusalSeconds = 1.0, kHelpSeconds = 1.0;
#else
constexpr double kRefusalSeconds = 0.1, kHelpSeconds = 0.05;
#endif

struct Refusal {
  std::vector<std::string> arguments;
  std::string message;
};

void PrintTo(const Refusal& refusal, std::ostream* out) {
  for (const std::string& argument : refusal.arguments) *out << argument << ' ';
}

class Refusals : public ::testing::TestWithParam<Refusal> {};

TEST_P(Refusals, WithTheNearestRightWord) {
  Workspace workspace;
  const CommandResult result = workspace.run(GetParam().arguments);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr(GetParam().message));
  EXPECT_EQ(result.out, "");
  EXPECT_LT(result.cpu_seconds, kRefusalSeconds);
  EXPECT_FALSE(std::filesystem::exists(workspace / "runs"));
}

INSTANTIATE_TEST_SUITE_P(
    Command, Refusals,
    ::testing::Values(
        Refusal{{"--lr-schedular", "cosine"}, "unknown flag --lr-schedular; did you mean --lr-scheduler?"},
        Refusal{{"--batchsize=64"}, "unknown flag --batchsize; did you mean --batch-size?"},
        Refusal{{"--lr-scheduler", "cosin"}, "--lr-scheduler: unknown value 'cosin'; did you mean 'cosine'?"},
        Refusal{{"--opt", "sdg"}, "--opt: unknown value 'sdg'; did you mean 'sgd'?"},
        Refusal{{"--precision", "fp23"}, "--precision: unknown value 'fp23'; did you mean 'fp32'?"},
        Refusal{{"--device", "cudda"}, "--device: unknown value 'cudda'; did you mean 'cuda'?"},
        Refusal{{"--model", "resnet19"}, "resnet19"},
        Refusal{{"--epochs", "ten"}, "--epochs: 'ten' is not a whole number"},
        Refusal{{"--epochs", "2.5"}, "--epochs: '2.5' is not a whole number"},
        Refusal{{"--epochs", "0"}, "--epochs: 0 is out of range, expected 1 to 1000000"},
        Refusal{{"--lr", "-0.1"}, "--lr: -0.1 is out of range"},
        Refusal{{"--lr", "nan"}, "--lr: 'nan' is not a number"}, Refusal{{"--lr"}, "--lr needs a value"},
        Refusal{{"--lr", "0.1", "--lr-base", "0.2"}, "--lr and --lr-base both set the learning rate"},
        Refusal{{"--num-classes", "1"}, "--num-classes: 1 is out of range, expected 2 to"},
        Refusal{{"--lr-milestones", "60,30"}, "--lr-milestones: 60,30 is not in ascending order"},
        Refusal{{"--momentum", "0", "--nesterov"}, "--nesterov needs a --momentum above 0"},
        Refusal{{"--opt", "adamw", "--nesterov"}, "--nesterov is a form of sgd and lars, not of adamw"},
        Refusal{{"--val-split", "1.5"}, "--val-split: 1.5 is neither a fraction below 1 nor a whole number"},
        Refusal{{"--amp", "--precision", "fp32"}, "--amp stands for --precision bf16"},
        Refusal{{"--test-only"}, "--test-only needs something to test"},
        Refusal{{"--resume"}, "--resume auto looks in the folder of the run: add --output-dir"},
        Refusal{{"--resume", "nowhere"}, "--resume: nowhere is neither a run nor a checkpoint"},
        Refusal{{"--dataset", "cifar10"}, "--dataset cifar10 needs the folder with the data"},
        Refusal{{"--dataset", "shapes", "--data-path", "x"}, "--dataset shapes is drawn by the program"},
        Refusal{{"a", "--data-path", "b"}, "the data folder is given twice"},
        Refusal{{"a", "b"}, "unexpected argument 'b'"}, Refusal{{"--name", "a/b"}, "use --output-dir for a path"}));

TEST(Command, AnswersWithoutTraining) {
  Workspace workspace;
  const CommandResult help = workspace.run({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, AllOf(HasSubstr("--lr-warmup-epochs, --warmup-epochs, --warmup"), HasSubstr("Examples"),
                              HasSubstr("75 stopped by a signal")));
  EXPECT_LT(help.cpu_seconds, kHelpSeconds);
  EXPECT_THAT(workspace.run({"--version"}).out, HasSubstr("resnet-train 0."));
  EXPECT_THAT(workspace.run({"--list-models"}).out,
              AllOf(HasSubstr("resnet50                25,557,032 parameters    4.089 GMACs"), HasSubstr("plain110")));
  EXPECT_THAT(workspace.run({"--model", "resnet50", "--num-classes", "10", "--summary"}).out,
              AllOf(HasSubstr("layer1.0.downsample.0"), HasSubstr("23,528,522 parameters")));
  const CommandResult doctor = workspace.run({"--doctor"});
  EXPECT_EQ(doctor.exit_code, 0);
  EXPECT_THAT(doctor.out, AllOf(HasSubstr("oneDNN"), HasSubstr("bf16"), HasSubstr("threads"), HasSubstr("cache"),
                                HasSubstr("cuda")));
}

TEST(Command, SaysWhyThereIsNoGpu) {
  Workspace workspace;
  const CommandResult result = workspace.run({"--device", "cuda", "--shapes-train", "20", "--batch-size", "10"});
  if (result.exit_code == 0) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.err, HasSubstr("--device cuda: "));
}

TEST(Command, IsDocumentedFlagByFlag) {
  Workspace workspace;
  const std::string tables = workspace.run({"--list-flags"}).out;
  EXPECT_THAT(tables, HasSubstr("| `--momentum` | X | 0.9 | of SGD and LARS |"));
  EXPECT_NE(read_text(ENGINE_SOURCE_DIR "/docs/training.md").find(tables), std::string::npos)
      << "docs/training.md lacks these tables; tools/document_flags writes them:\n"
      << tables;
}

TEST(Command, ReadsSettingsFromAFileAndLetsFlagsGoBefore) {
  Workspace workspace;
  write_text(workspace / "settings.json",
             R"({"epochs": 1, "lr": 0.5, "shapes_train": 40, "shapes_val": 20, "batch_size": 20})");
  const CommandResult result = workspace.run(
      {"--config", "settings.json", "--lr", "0.01", "--output-dir", "run", "--threads", "1", "--deterministic"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json config = read_json(workspace / "run" / "run.json").at("config");
  EXPECT_EQ(config.at("lr"), 0.01);
  EXPECT_EQ(config.at("epochs"), 1);

  const CommandResult again = workspace.run({"--config", "run/run.json", "--output-dir", "again"});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  expect_same_result(workspace / "again", workspace / "run");
}

TEST(Command, RefusesAFileOfSettingsThatItDoesNotUnderstand) {
  Workspace workspace;
  const auto refusal = [&](const std::string& text) {
    write_text(workspace / "settings.json", text);
    const CommandResult result = workspace.run({"--config", "settings.json"});
    EXPECT_EQ(result.exit_code, 2) << text;
    return result.err;
  };
  EXPECT_THAT(refusal(R"({"epoch": 3})"),
              HasSubstr("--config settings.json: unknown setting 'epoch'; did you mean 'epochs'?"));
  EXPECT_THAT(refusal(R"({"epochs": "3"})"), HasSubstr("--config settings.json: epochs: \"3\" is not a number"));
  EXPECT_THAT(refusal(R"({"epochs": 1e400})"), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal(R"({"epochs": -1})"), HasSubstr("epochs: -1 is out of range"));
  EXPECT_THAT(refusal(R"({"output_dir": "x"})"), HasSubstr("'output_dir' belongs to one start of the program"));
  EXPECT_THAT(refusal("[1]"), HasSubstr("not a JSON object of settings"));
  EXPECT_THAT(workspace.run({"--config", "absent.json"}).err, HasSubstr("absent.json"));
}

}  // namespace
}  // namespace engine::testing
