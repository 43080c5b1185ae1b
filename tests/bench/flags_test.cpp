// The command line of resnet-bench and the grid that it spans.
#include "bench/bench_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

#include "engine/error.h"

using namespace engine;
using namespace engine::bench;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

BenchOptions parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "build/bin/resnet-bench");
  return parse_bench_flags(static_cast<int>(arguments.size()), arguments.data());
}

std::string refusal(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
    return error.what();
  }
  return "";
}

std::string refused(const std::vector<const char*>& arguments) {
  return refusal([&] { parse(arguments); });
}

std::vector<std::string> described(const std::vector<BenchCase>& cells) {
  std::vector<std::string> texts;
  for (const BenchCase& cell : cells) texts.push_back(describe(cell));
  return texts;
}

}  // namespace

TEST(Grid, HasEveryCombination) {
  const BenchOptions options =
      parse({"--model", "resnet20", "--model", "resnet18", "-b", "8,4", "--precision", "fp32", "--image-size", "64"});
  EXPECT_THAT(described(grid(options, {})),
              ElementsAre("resnet18 train fp32, batch 8 of 64x64", "resnet18 train fp32, batch 4 of 64x64",
                          "resnet18 inference fp32, batch 8 of 64x64", "resnet18 inference fp32, batch 4 of 64x64",
                          "resnet20 train fp32, batch 8 of 64x64", "resnet20 train fp32, batch 4 of 64x64",
                          "resnet20 inference fp32, batch 8 of 64x64", "resnet20 inference fp32, batch 4 of 64x64"));
}

TEST(Grid, TakesUsualSizesAndBatches) {
  const BenchOptions options = parse({"--model", "resnet20,resnet50", "--bench", "train"});
  EXPECT_THAT(described(grid(options, {})),
              ElementsAre("resnet50 train fp32, batch 32 of 224x224", "resnet20 train fp32, batch 128 of 32x32"));
}

TEST(Grid, RefusesAnImageTooSmallForAModel) {
  const BenchOptions options = parse({"--model", "resnet18_intro", "--image-size", "100"});
  EXPECT_THAT(refusal([&] { grid(options, {}); }), HasSubstr("--image-size is 100, but resnet18_intro expects"));
}

TEST(Grid, RefusesFp16OnTheCpuAsADevicesLimit) {
  const BenchOptions options = parse({"--precision", "fp16"});
  try {
    grid(options, {});
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_THAT(error.what(), HasSubstr("--precision fp16: cpu: "));
  }
}

TEST(Models, MatchPatterns) {
  EXPECT_THAT(matching_models({"resnet[15]0*"}), testing::Not(testing::Contains("resnet18")));
  EXPECT_THAT(matching_models({"resnet1?"}), ElementsAre("resnet18"));
  EXPECT_THAT(matching_models({"resnet*"}), testing::IsSupersetOf({"resnet18", "resnet152", "resnet20"}));
  EXPECT_THAT(matching_models({"resnet*"}), testing::Not(testing::Contains("plain20")));
}

TEST(Models, AreMeasuredOnceHoweverOftenTheyMatch) {
  EXPECT_THAT(matching_models({"resnet50", "resnet5?", "resnet50"}), ElementsAre("resnet50", "resnet56"));
}

TEST(Models, NameTheNearestIfNoneMatches) {
  EXPECT_THAT(refusal([] { matching_models({"resnet51"}); }), HasSubstr("did you mean resnet50?"));
}

TEST(Flags, HaveTimmsNames) {
  const BenchOptions options =
      parse({"--precision", "bfloat16,float32", "--img-size", "96", "--batch-size", "16", "--bench", "infer"});
  EXPECT_THAT(options.precisions, ElementsAre(DType::bf16, DType::f32));
  EXPECT_EQ(options.image_size, 96);
  EXPECT_THAT(options.batches, ElementsAre(16));
  EXPECT_THAT(options.modes, ElementsAre(Mode::inference));
}

TEST(Flags, NameTheNearestToAnUnknownOne) {
  EXPECT_EQ(refused({"--modle", "x"}), "unknown flag --modle; did you mean --model?");
}

TEST(Flags, NeedTheirValues) {
  EXPECT_EQ(refused({"--model"}), "--model needs a value");
}

TEST(Flags, RefuseTf32OnTheCpu) {
  const BenchOptions options = parse({"--model", "resnet18", "--precision", "tf32"});
  try {
    grid(options, Device{});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_THAT(error.what(), HasSubstr("has no TF32 arithmetic; use --precision fp32"));
  }
  EXPECT_THAT(described(grid(options, {DeviceType::emulated})), testing::Each(HasSubstr(" tf32, ")));
}

TEST(Flags, RefuseNumbersThatAreNone) {
  EXPECT_EQ(refused({"-b", "16,x"}), "--batch-size is 'x', expected a number from 1 up");
  EXPECT_EQ(refused({"-b", "0"}), "--batch-size is '0', expected a number from 1 up");
  EXPECT_EQ(refused({"-b", "1.5"}), "--batch-size is '1.5', expected a whole number");
}

TEST(Flags, RefuseOtherFilesThanJsonAndCsv) {
  EXPECT_EQ(refused({"--results-file", "x.txt"}),
            "--results-file is x.txt, expected a name that ends in .json or .csv");
}

TEST(Flags, RefuseUnknownDevices) {
  for (const char* name : {"gpu", "cuda:", "cuda:x", ""})
    EXPECT_THAT(refused({"--device", name}), HasSubstr("expected auto, cpu, cuda, cuda:N or emulated")) << name;
}

TEST(Flags, RefuseALeastTimeAboveTheMost) {
  EXPECT_THAT(refused({"--min-seconds", "5", "--max-seconds", "2"}), HasSubstr("--min-seconds is 5"));
}

TEST(CommandLine, TellsNothingOfFoldersOutside) {
  ::setenv("HOME", "/somewhere/me", 1);
  EXPECT_EQ(parse({"--data-path", "/somewhere/me/data", "--html=/elsewhere/x.html", "--results-file", "a/x.json"})
                .command_line,
            "resnet-bench --data-path ~/data --html=x.html --results-file a/x.json");
}

TEST(Help, NamesEveryExitCodeOfTheProgram) {
  for (const char* code : {"0 measured", "9 measured but", "2 usage", "3 data", "5 device", "6 memory"})
    EXPECT_THAT(bench_help(), HasSubstr(code));
}
