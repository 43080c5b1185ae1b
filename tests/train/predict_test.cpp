// resnet-predict as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <sstream>

#include "engine/data/image.h"
#include "engine/data/png_encode.h"
#include "engine/random.h"
#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kClasses = 3;

// Noise whose mean tells the class, mostly.
void write_picture(const fs::path& path, int width, int height, int label, uint64_t number) {
  RandomStream random(number, 0, 0, purpose::kInitialisation);
  Image image{width, height, {}};
  const uint32_t base = static_cast<uint32_t>(label) * 25;
  for (int i = 0; i < width * height * 3; ++i) image.pixels.push_back(static_cast<uint8_t>(base + random.below(200)));
  const std::vector<uint8_t> png = encode_png(image);
  write_text(path, std::string(png.begin(), png.end()));
}

// A net on 32x32 parts of pictures of several sizes, and its run.
class Predict : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    workspace_ = new Workspace;
    for (int i = 0; i < 48; ++i) {
      const std::string name = "c" + std::to_string(i % kClasses) + "/" + std::to_string(i) + ".png";
      write_picture(*workspace_ / "data" / (i < 24 ? "train" : "val") / name, 40 + i, 70 - i, i % kClasses,
                    static_cast<uint64_t>(i));
    }
    const CommandResult trained = workspace_->run({"data",     "--output-dir",
                                                   "run",      "--model",
                                                   "resnet20", "--crop",
                                                   "rrc",      "--train-crop-size",
                                                   "32",       "--val-resize-size",
                                                   "37",       "--interpolation",
                                                   "bicubic",  "--epochs",
                                                   "3",        "--batch-size",
                                                   "8",        "--threads",
                                                   "1",        "--lr",
                                                   "0.05"});
    ASSERT_EQ(trained.exit_code, 0) << trained.err;
  }
  static void TearDownTestSuite() {
    delete workspace_;
    workspace_ = nullptr;
  }

  static CommandResult predict(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--threads", "1"});
    return Command(workspace_->path(), arguments, {.environment = {}, .program = RESNET_PREDICT}).wait();
  }
  static std::vector<Json> lines(const std::string& text) {
    std::vector<Json> result;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) result.push_back(Json::parse(line));
    return result;
  }
  static fs::path at(const std::string& name) { return *workspace_ / name; }

  static Workspace* workspace_;
};
Workspace* Predict::workspace_ = nullptr;

TEST_F(Predict, IsAsAccurateAsTestOnly) {
  const CommandResult tested =
      workspace_->run({"--test-only", "--resume", "run/checkpoints/best", "--log-format", "jsonl"});
  ASSERT_EQ(tested.exit_code, 0) << tested.err;
  const CommandResult result = predict({"--weights", "run", "data/val", "--json", "-j", "3", "-b", "5"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  int64_t correct = 0;
  double loss = 0;
  const std::vector<Json> predictions = lines(result.out);
  ASSERT_EQ(predictions.size(), 24u);
  for (const Json& line : predictions) {
    const std::string label = fs::path(line.at("path").get<std::string>()).parent_path().filename().string();
    ASSERT_EQ(line.at("predictions").size(), static_cast<size_t>(kClasses));
    correct += line.at("predictions")[0].at("class") == label;
    for (const Json& one : line.at("predictions")) {
      if (one.at("class") == label) loss -= std::log(one.at("probability").get<double>()) / 24;
    }
  }
  const Json expected = lines(tested.out).back();
  EXPECT_EQ(100.0 * static_cast<double>(correct) / 24, expected.at("acc1").get<double>());
  EXPECT_NEAR(loss, expected.at("loss").get<double>(), 1e-5);  // other batches round otherwise
  EXPECT_THAT(result.err, HasSubstr("24 pictures in"));
  EXPECT_EQ(predict({"--weights", "run", "data/val", "--json", "-j", "0", "-b", "5"}).out, result.out);
}

TEST_F(Predict, TrainingTakesTheModelOfItsWeightsFromThem) {
  const CommandResult result = workspace_->run({"data", "--test-only", "--weights", "run", "--val-crop-size", "32",
                                                "--val-resize-size", "37", "--log-format", "jsonl"});
  ASSERT_EQ(result.exit_code, 0) << result.err;  // and not resnet18, as for these pictures without weights
  EXPECT_EQ(lines(result.out).back().at("event"), "test");
}

TEST_F(Predict, PrintsATable) {
  const CommandResult result = predict({"--weights", "run/checkpoints/last", "data/val/c1/25.png", "--top-k", "2"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, ::testing::MatchesRegex("picture             probability  class\n"
                                                  "data/val/c1/25.png  [ 0-9.]* %  c[0-2]\n"
                                                  "                    [ 0-9.]* %  c[0-2]\n"));
  EXPECT_THAT(result.err, HasSubstr("resnet20, 3 classes, 32x32 pixels, "));
}

TEST_F(Predict, ReportsPicturesThatCannotBeReadAndGoesOn) {
  write_text(at("mixed/1.png"), "not a picture");
  write_picture(at("mixed/2.png"), 50, 50, 0, 1);
  write_text(at("mixed/3.jpg"), "");
  const CommandResult result = predict({"--weights", "run", "mixed", "--json", "--html", "page.html"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("warning: mixed/1.png"), HasSubstr("warning: mixed/3.jpg"),
                                HasSubstr("2 more could not be read")));
  const std::vector<Json> objects = lines(result.out);
  ASSERT_EQ(objects.size(), 3u);
  EXPECT_EQ(objects[0].at("path"), "mixed/1.png");
  EXPECT_THAT(objects[0].at("error").get<std::string>(), HasSubstr("mixed/1.png"));
  EXPECT_TRUE(objects[1].contains("predictions"));
  EXPECT_TRUE(objects[2].contains("error"));
  EXPECT_THAT(read_text(at("page.html")), AllOf(HasSubstr("mixed/2.png"), HasSubstr("<li>mixed/3.jpg")));
}

TEST_F(Predict, EndsWith3IfNothingCanBeRead) {
  write_text(at("broken/1.png"), "not a picture");
  const CommandResult result = predict({"--weights", "run", "broken"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("not one of 1 pictures could be read"));
}

TEST_F(Predict, DrawsHeatMapsBesideEachOther) {
  write_picture(at("one/x.png"), 60, 40, 1, 3);
  write_picture(at("two/x.png"), 300, 2000, 1, 4);
  const CommandResult result =
      predict({"--weights", "run", "one", "two", "--json", "--cam", "maps", "--cam-class", "c2"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(lines(result.out)[1].at("cam"), "maps/x-2.png");
  const auto size = [&](const std::string& name) {
    const std::string bytes = read_text(at(name));
    const auto found = image_size({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    return found ? std::to_string(found->width) + "x" + std::to_string(found->height) : "none";
  };
  EXPECT_EQ(size("maps/x.png"), "256x170");
  EXPECT_EQ(size("maps/x-2.png"), "153x1024");
}

TEST_F(Predict, ComputesTheSameOnTheEmulatedDevice) {
  const auto run = [&](const std::string& device) {
    return predict({"--weights", "run", "data/val/c0/24.png", "data/val/c1/25.png", "--device", device, "--json",
                    "--cam", "maps-" + device});
  };
  const CommandResult cpu = run("cpu"), emulated = run("emulated");
  ASSERT_EQ(emulated.exit_code, 0) << emulated.err;
  const std::vector<Json> expected = lines(cpu.out), found = lines(emulated.out);
  ASSERT_EQ(found.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    for (size_t k = 0; k < static_cast<size_t>(kClasses); ++k) {
      const Json &a = found[i]["predictions"][k], &b = expected[i]["predictions"][k];
      EXPECT_EQ(a["index"], b["index"]);
      EXPECT_NEAR(a["probability"].get<double>(), b["probability"].get<double>(), 1e-5);
    }
    const auto pixels = [&](const std::string& device, const char* name) {
      const std::string bytes = read_text(at("maps-" + device) / name);
      return decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, name).pixels;
    };
    const char* name = i == 0 ? "24.png" : "25.png";
    const std::vector<uint8_t> a = pixels("emulated", name), b = pixels("cpu", name);
    ASSERT_EQ(a.size(), b.size());
    int largest = 0;
    for (size_t p = 0; p < a.size(); ++p) largest = std::max(largest, std::abs(a[p] - b[p]));
    EXPECT_LE(largest, 1);  // a rounding to the other side
  }
}

TEST_F(Predict, SeesAllOfAPhotographWithANetForSmallPictures) {
  ASSERT_EQ(workspace_->run_tiny("shapes").exit_code, 0);
  write_picture(at("photo.png"), 320, 320, 1, 5);
  const auto top = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"--weights", "shapes", "photo.png", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return predict(arguments).out;
  };
  EXPECT_EQ(top({}), top({"--val-resize-size", "32"}));
  EXPECT_THAT(top({}), HasSubstr("\"class\":\""));
}

TEST_F(Predict, AsksForTheModelOfOtherProgramsWeights) {
  // The same file without what this program has written into it.
  std::string bytes = read_text(at("run/checkpoints/best/model.safetensors"));
  for (size_t found = 0; (found = bytes.find("\"engine.", found)) != std::string::npos;) bytes[found + 1] = 'E';
  write_text(at("bare.safetensors"), bytes);
  const CommandResult bare = predict({"--weights", "bare.safetensors", "data/val/c0"});
  EXPECT_EQ(bare.exit_code, 2);
  EXPECT_THAT(bare.err, HasSubstr("bare.safetensors does not say which model it belongs to; add --model NAME"));
  const CommandResult named = predict({"--weights", "bare.safetensors", "--model", "resnet20", "data/val/c0"});
  EXPECT_EQ(named.exit_code, 0) << named.err;
  EXPECT_THAT(named.out, AllOf(HasSubstr(" %  2\n"), Not(HasSubstr("c2"))));
  write_text(at("names.txt"), "ant\nbee\r\ncow\n\n");
  EXPECT_THAT(
      predict({"--weights", "bare.safetensors", "--model", "resnet20", "data/val/c0", "--classes", "names.txt"}).out,
      AllOf(HasSubstr(" %  ant\n"), HasSubstr(" %  bee\n"), HasSubstr(" %  cow\n")));
  const CommandResult other = predict({"--weights", "run", "--model", "resnet18", "data/val/c0"});
  EXPECT_EQ(other.exit_code, 4);
  EXPECT_THAT(other.err, HasSubstr("the tensors are not those of the model"));
}

struct Refusal {
  std::vector<std::string> arguments;
  int exit_code;
  std::string message;
};

TEST_F(Predict, RefusesBeforeAnyWork) {
  write_text(at("two.txt"), "a\nb\n");
  for (const Refusal& refusal :
       std::vector<Refusal>{{{}, 2, "give pictures, or folders of pictures"},
                            {{"data"}, 2, "give the net with --weights"},
                            {{"data", "--weights", "none"}, 4, "none does not exist"},
                            {{"nothing.jpg", "--weights", "run"}, 3, "'nothing.jpg' does not exist"},
                            {{"data", "--weights", "run", "--device", "cudda"},
                             2,
                             "--device: unknown value 'cudda'; did you mean 'cuda'?"},
                            {{"data", "--weights", "run", "--classes", "two.txt"},
                             2,
                             "two.txt has 2 names, one a line, but the net has 3 classes"},
                            {{"data", "--weights", "run", "--cam-class", "c1"},
                             2,
                             "--cam-class is the class whose heat --cam DIR draws"},
                            {{"data", "--weights", "run", "--cam", "m", "--cam-class", "c7"},
                             2,
                             "neither a class of the net, such as 'c0', nor a number from 0 to 2"},
                            {{"data", "--weights", "run", "--top-k", "0"}, 2, "--top-k"},
                            {{"data", "--weights", "run", "--jsn"}, 2, "--jsn"}}) {
    const CommandResult result = predict(refusal.arguments);
    EXPECT_EQ(result.exit_code, refusal.exit_code) << refusal.message;
    EXPECT_THAT(result.err, HasSubstr(refusal.message));
    EXPECT_EQ(result.out, "") << refusal.message;
  }
}

}  // namespace
}  // namespace engine::testing
