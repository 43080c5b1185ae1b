// The program as a user runs it: exit codes, and what it writes against the schema.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using testing::HasSubstr;

std::string read(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Json schema() {
  return Json::parse(read(fs::path(ENGINE_SOURCE_DIR) / "bench/results.schema.json"));
}

// The part of JSON Schema that results.schema.json uses. Says what is wrong.
void validate(const Json& value, const Json& rule, const std::string& where, std::vector<std::string>& faults) {
  const std::string type = value.is_object()           ? "object"
                           : value.is_array()          ? "array"
                           : value.is_string()         ? "string"
                           : value.is_boolean()        ? "boolean"
                           : value.is_null()           ? "null"
                           : value.is_number_integer() ? "integer"
                                                       : "number";
  const Json types = rule["type"].is_array() ? rule["type"] : Json::array({rule["type"]});
  const auto allows = [&](const std::string& name) {
    return std::find(types.begin(), types.end(), name) != types.end();
  };
  if (!allows(type) && !(type == "integer" && allows("number"))) faults.push_back(where + " is of type " + type);
  if (rule.contains("enum") && std::find(rule["enum"].begin(), rule["enum"].end(), value) == rule["enum"].end())
    faults.push_back(where + " is " + value.dump());
  if (value.is_array() && rule.contains("items"))
    for (const Json& item : value) validate(item, rule["items"], where + "[]", faults);
  if (!value.is_object()) return;
  for (const Json& key : rule.value("required", Json::array()))
    if (!value.contains(key.get<std::string>())) faults.push_back(where + " has no " + key.get<std::string>());
  if (!rule.contains("properties")) return;
  for (const auto& [key, item] : value.items()) {
    if (rule["properties"].contains(key))
      validate(item, rule["properties"][key], where + "." + key, faults);
    else if (!rule.value("additionalProperties", true))
      faults.push_back(where + " has " + key);
  }
}

std::vector<std::string> faults(const Json& results) {
  std::vector<std::string> found;
  validate(results, schema(), "results", found);
  return found;
}

struct Outcome {
  int exit_code = 0;
  std::string out, err;
};

class ResnetBench : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("engine-resnet-bench-" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  Outcome run(const std::string& arguments, const std::string& environment = "") const {
    const std::string command = "cd '" + folder_.string() + "' && XDG_CACHE_HOME=cache " + environment + " '" +
                                RESNET_BENCH + "' " + arguments + " >out 2>err";
    const int status = std::system(command.c_str());
    return {WEXITSTATUS(status), read(folder_ / "out"), read(folder_ / "err")};
  }
  Json results(const std::string& name = "x.json") const { return Json::parse(read(folder_ / name)); }

  fs::path folder_;
};

constexpr const char* kTiny = "--model resnet20 --device cpu --image-size 8 -b 2 --quick --min-seconds 0.01 ";

TEST_F(ResnetBench, WritesWhatTheSchemaSays) {
  const Outcome outcome = run(std::string(kTiny) + "--detail --results-file x.json");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(faults(results()), testing::IsEmpty());
  EXPECT_EQ(results()["complete"], true);
  EXPECT_EQ(results()["rows"].size(), 2u);
  EXPECT_GT(results()["rows"][0]["train_fwd_time"], 0);
  EXPECT_EQ(results()["step_ms"][0].size(), results()["rows"][0]["steps"]);
}

TEST_F(ResnetBench, WritesTheSameKeysOnTheEmulatedDevice) {
  const Outcome outcome =
      run("--model resnet20 --device emulated --image-size 8 -b 1 --quick --min-seconds 0.01 --bench inference "
          "--results-file x.json");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(faults(results()), testing::IsEmpty());
  EXPECT_GT(results()["rows"][0]["kernels"], 0);
  EXPECT_TRUE(results()["rows"][0]["matrix_percent"].is_null());
}

TEST_F(ResnetBench, WritesNothingButTheTableOnStderr) {
  const Outcome outcome = run(std::string(kTiny) + "--bench train");
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr("resnet20           train     fp32      2    8"));
  std::istringstream lines(outcome.err);
  for (std::string line; std::getline(lines, line);)
    if (!line.starts_with("resnet-bench") && !line.starts_with("no GPU")) {
      EXPECT_LE(line.size(), 120u) << line;
    }
}

TEST_F(ResnetBench, WritesTheSameRowsAsCsvAndJson) {
  const Outcome outcome = run(std::string(kTiny) + "--bench train --json --results-file x.csv");
  const Json row = Json::parse(outcome.out)["rows"][0];
  std::istringstream csv(read(folder_ / "x.csv"));
  std::string header, line, keys, values;
  std::getline(csv, header);
  std::getline(csv, line);
  for (const auto& [key, value] : row.items()) {
    keys += (keys.empty() ? "" : ",") + key;
    const std::string text = value.is_null() ? "" : value.is_string() ? value.get<std::string>() : value.dump();
    values += (&value == &row.front() ? "" : ",") + (text.find(',') == std::string::npos ? text : "\"" + text + "\"");
  }
  EXPECT_EQ(header, keys);
  EXPECT_EQ(line, values);
}

TEST_F(ResnetBench, SaysThatTooFewStepsAreDoubtful) {
  const Outcome outcome = run(
      "--model resnet20 --device emulated --image-size 8 -b 1 --bench inference --max-seconds 0 --results-file x.json");
  EXPECT_EQ(outcome.exit_code, 9);
  EXPECT_THAT(outcome.err, HasSubstr("DOUBTFUL: only 2 steps were measured"));
  EXPECT_EQ(results()["rows"][0]["status"], "doubtful");
  EXPECT_THAT(results()["rows"][0]["doubts"].get<std::string>(), HasSubstr("few_steps"));
}

TEST_F(ResnetBench, GoesOnAfterACellThatIsTooLarge) {
  const Outcome outcome =
      run("--model resnet20 --device emulated --image-size 8 --bench inference --quick --min-seconds 0.01 -b 2000,1 "
          "--results-file x.json",
          "ENGINE_EMULATOR_MEMORY=4000000");
  EXPECT_EQ(outcome.exit_code, 6) << outcome.err;
  const Json rows = results()["rows"];
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["status"], "failed");
  EXPECT_EQ(rows[1]["status"], "quick");
  EXPECT_THAT(faults(results()), testing::IsEmpty());
}

TEST_F(ResnetBench, NamesABatchThatFits) {
  const std::string environment = "ENGINE_EMULATOR_MEMORY=5000000";
  const std::string flags =
      "--model resnet20 --device emulated --image-size 8 --bench inference --quick --min-seconds 0.01 -b ";
  const Outcome failed = run(flags + "1000", environment);
  std::smatch match;
  ASSERT_TRUE(std::regex_search(failed.err, match, std::regex("a batch of (\\d+) fits"))) << failed.err;
  EXPECT_GE(std::stoi(match[1]), 8);
  EXPECT_EQ(run(flags + match[1].str(), environment).exit_code, 0);
}

TEST_F(ResnetBench, TrainsAndInfersThroughTheLoader) {
  const Outcome outcome = run(std::string(kTiny) + "--data-path shapes --detail --results-file x.json");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json written = results();
  for (const Json& row : written["rows"]) {
    EXPECT_GT(row["data_img_per_s"], 0);
    EXPECT_GE(row["data_wait_percent"], 0);
    EXPECT_LE(row["data_wait_percent"], 100);
  }
}

TEST_F(ResnetBench, MeasuresThePipelineAlone) {
  const Outcome outcome =
      run("--test-io shapes --device cpu --threads 2 --image-size 32 -b 4 --quick --min-seconds 0.01 --results-file "
          "x.json");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  std::vector<std::string> stages;
  const Json written = results();
  for (const Json& row : written["input"]) {
    EXPECT_GT(row["img_per_s"], 0);
    if (row["threads"] == 1) stages.push_back(row["stage"]);
  }
  EXPECT_THAT(stages, testing::ElementsAre("read", "read and decode", "resize (evaluation)", "augment (training)",
                                           "prepare", "loader", "upload and normalise"));
  EXPECT_THAT(faults(written), testing::IsEmpty());
}

TEST_F(ResnetBench, NamesAPictureThatCannotBeRead) {
  for (const char* picture : {"data/a/1.jpg", "data/a/2.jpg", "data/b/1.jpg", "data/b/2.jpg"}) {
    fs::create_directories((folder_ / picture).parent_path());
    std::ofstream(folder_ / picture) << "no picture";
  }
  const Outcome outcome = run("--test-io data --device cpu --min-seconds 0.01");
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.err, HasSubstr(".jpg"));
}

TEST_F(ResnetBench, TellsOfTheLayersOnStdout) {
  const Outcome outcome =
      run(std::string(kTiny) + "--bench train --layers --explain layer2.0.conv1 --html x.html --results-file x.json");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("layer3.2.conv2"));
  EXPECT_THAT(read(folder_ / "x.html"), HasSubstr("layer2.0.conv1"));
  EXPECT_EQ(results()["layers"].size(), 1u);
  EXPECT_THAT(faults(results()), testing::IsEmpty());
}

TEST_F(ResnetBench, ExplainsALayerOfTheModelsThatHaveIt) {
  const Outcome outcome =
      run(std::string(kTiny) + "--model resnet32 --bench inference --explain layer1.4.conv1 --html new/x.html");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("layer1.4.conv1: "));
  EXPECT_TRUE(fs::exists(folder_ / "new/x.html"));
}

TEST_F(ResnetBench, RefusesALayerThatNoModelHasBeforeItMeasures) {
  const Outcome outcome = run(std::string(kTiny) + "--explain layer9.0.conv1");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err,
              HasSubstr("--explain 'layer9.0.conv1': no model of this run has such a layer; resnet20 has"));
  EXPECT_THAT(outcome.err, testing::Not(HasSubstr("img/s")));
}

TEST_F(ResnetBench, RefusesAPageThatCannotBeWrittenBeforeItMeasures) {
  std::ofstream(folder_ / "file") << "no folder";
  const Outcome outcome = run(std::string(kTiny) + "--html file/x.html");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, testing::AllOf(HasSubstr("file"), testing::Not(HasSubstr("img/s"))));
}

TEST_F(ResnetBench, RefusesAFolderThatIsNotThere) {
  const Outcome outcome = run(std::string(kTiny) + "--data-path nowhere --bench train --results-file x.json");
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_EQ(results()["rows"][0]["status"], "failed");
}

TEST_F(ResnetBench, HasTheUsageCodeForAnUnknownFlag) {
  EXPECT_EQ(run("--no-such-flag").exit_code, 2);
}

TEST_F(ResnetBench, HasTheDeviceCodeForAPrecisionThatIsNotThere) {
  EXPECT_EQ(run("--device cpu --precision fp16").exit_code, 5);
}

TEST_F(ResnetBench, TellsItsCommandWithoutFolders) {
  run(std::string(kTiny) + "--bench inference --results-file '" + folder_.string() + "/x.json'");
  EXPECT_THAT(results()["rows"][0]["command_line"].get<std::string>(), testing::EndsWith("--results-file x.json"));
  EXPECT_THAT(read(folder_ / "x.json"), testing::Not(HasSubstr(folder_.string())));
}

// Every key of the schema has a line in the page, and nothing else has.
TEST(Page, HasTheKeysOfTheSchema) {
  std::set<std::string> documented, known;
  const Json properties = schema()["properties"]["rows"]["items"]["properties"];
  for (const auto& [key, value] : properties.items()) known.insert(key);
  std::istringstream page(read(fs::path(ENGINE_SOURCE_DIR) / "docs/benchmark-results.md"));
  std::string line;
  while (std::getline(page, line) && line != "## Doubts")
    if (line.starts_with("| `")) documented.insert(line.substr(3, line.find('`', 3) - 3));
  EXPECT_EQ(documented, known);
}

TEST(Page, HasTheUnitsOfTheSchema) {
  const std::string page = read(fs::path(ENGINE_SOURCE_DIR) / "docs/benchmark-results.md");
  const Json properties = schema()["properties"]["rows"]["items"]["properties"];
  for (const auto& [key, value] : properties.items())
    EXPECT_THAT(page, HasSubstr("| `" + key + "` | " + value.value("unit", "") + " | "));
}

TEST(Schema, RequiresEveryKeyOfARow) {
  const Json rows = schema()["properties"]["rows"]["items"];
  std::set<std::string> required, known;
  for (const Json& key : rows["required"]) required.insert(key.get<std::string>());
  for (const auto& [key, value] : rows["properties"].items()) known.insert(key);
  EXPECT_EQ(required, known);
}

}  // namespace
