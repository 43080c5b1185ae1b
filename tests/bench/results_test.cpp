// Rows of results as JSON and CSV.
#include "bench/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

using namespace engine;
using namespace engine::bench;
using Json = nlohmann::ordered_json;

namespace {

CellResult measured() {
  CellResult result;
  result.cell = {.work = {.model = "resnet20", .batch = 8, .image_size = 32}, .threads = 2};
  result.parameters = 269722;
  result.macs = 40e6;
  result.steps = {0.010, 0.010, 0.010, 0.014, 0.010, 0.010};
  result.warmup = {0.02};
  result.evidence.summary = summarize_steps(result.steps);
  result.ceilings = Ceilings{.bytes_per_s = 1e11, .flops_per_s = 1e12, .dtype = DType::f32};
  result.floor = StepFloor{.seconds = 0.004, .flops = 2e9, .bytes = 3e8, .regime = "epilogues"};
  return result;
}

}  // namespace

TEST(Row, DividesByTheRightThings) {
  const Json row = result_row(measured(), {});
  EXPECT_NEAR(row["img_per_s"], 800, 1e-9);
  EXPECT_NEAR(row["train_samples_per_sec"], 48 / 0.064, 1e-9);
  EXPECT_NEAR(row["train_step_time"], 64.0 / 6, 1e-9);
  EXPECT_NEAR(row["tflop_per_s"], 0.2, 1e-12);
  EXPECT_NEAR(row["matrix_percent"], 20, 1e-9);
  EXPECT_NEAR(row["gb_per_s"], 30, 1e-9);
  EXPECT_NEAR(row["bandwidth_percent"], 30, 1e-9);
  EXPECT_NEAR(row["floor_percent"], 40, 1e-9);
  EXPECT_NEAR(row["param_count"], 0.269722, 1e-12);
  EXPECT_EQ(row["status"], "ok");
}

TEST(Row, HasNullInTheOtherModesColumns) {
  const Json row = result_row(measured(), {});
  EXPECT_TRUE(row["infer_samples_per_sec"].is_null());
  EXPECT_TRUE(row["infer_gmacs"].is_null());
}

TEST(Row, KnowsNoThrottlingWhereNothingIsWatched) {
  CellResult result = measured();
  EXPECT_TRUE(result_row(result, {})["throttled"].is_null());
  result.evidence.clocks.watched = true;
  EXPECT_EQ(result_row(result, {})["throttled"], false);
  result.evidence.clocks.thermal_events = 1;
  EXPECT_EQ(result_row(result, {})["throttled"], true);
}

TEST(Row, OfAFailureHasTheSameKeys) {
  CellResult failed;
  failed.cell = measured().cell;
  failed.error = "out of memory";
  failed.exit_code = 6;
  const Json good = result_row(measured(), {}), bad = result_row(failed, {});
  std::vector<std::string> good_keys, bad_keys;
  for (const auto& [key, value] : good.items()) good_keys.push_back(key);
  for (const auto& [key, value] : bad.items()) bad_keys.push_back(key);
  EXPECT_EQ(good_keys, bad_keys);
  EXPECT_EQ(bad["status"], "failed");
  EXPECT_EQ(bad["error"], "out of memory");
  EXPECT_TRUE(bad["img_per_s"].is_null());
}

TEST(Row, ListsTheCodesOfItsDoubts) {
  CellResult result = measured();
  result.doubts = {{"drift", "it drifts"}, {"outliers", "it jumps"}};
  const Json row = result_row(result, {});
  EXPECT_EQ(row["status"], "doubtful");
  EXPECT_EQ(row["doubts"], "drift outliers");
}

TEST(File, KeepsTheRowsOfAnInterruptedRun) {
  const auto file = std::filesystem::temp_directory_path() / ("engine-results-" + std::to_string(getpid()) + ".json");
  {
    Results results(file);
    results.add(result_row(measured(), {}));
  }
  std::ifstream stream(file);
  const Json content = Json::parse(stream);
  std::filesystem::remove(file);
  EXPECT_EQ(content["complete"], false);
  EXPECT_EQ(content["rows"].size(), 1u);
}

TEST(Csv, QuotesWhatNeedsIt) {
  const Json rows = {{{"a", "x,y"}, {"b", "say \"hi\""}, {"c", nullptr}, {"d", 1.5}, {"e", true}, {"f", "two\nlines"}}};
  EXPECT_EQ(to_csv(rows), "a,b,c,d,e,f\n\"x,y\",\"say \"\"hi\"\"\",,1.5,true,\"two\nlines\"\n");
}

TEST(Csv, OfNothingIsEmpty) {
  EXPECT_EQ(to_csv(Json::array()), "");
}

TEST(Csv, HasALineForEachRow) {
  EXPECT_EQ(to_csv(Json{{{"a", nullptr}, {"b", 2}}, {{"a", nullptr}, {"b", 3}}}), "a,b\n,2\n,3\n");
}
