#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/error.h"
#include "engine/train/metrics.h"
#include "engine/train/run_state.h"

namespace engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SavedState example() {
  SavedState saved;
  saved.state = {.step = 123,
                 .epoch = 4,
                 .step_in_epoch = 7,
                 .interval = {.loss = 0.1 + 0.2, .correct = 5, .correct5 = 6, .count = 10},
                 .epoch_sums = {.loss = 1.0 / 3, .correct = 1, .correct5 = 2, .count = 3},
                 .unusual = {.loss = {.mean = 0.1, .variance = 1.0 / 3, .count = 9}, .last_norm = 0.7, .norm_z = 0.3},
                 .best = ValidationResult{.step = 100, .epoch = 3, .loss = 0.7, .acc1 = 200.0 / 3},
                 .last = std::nullopt,
                 .seconds = 1.5,
                 .train_seconds = 0.1,
                 .train_images = 99,
                 .loss_scale = {.scale = 0.25, .good_steps = 17, .overflows = 2},
                 .steps_left_out = 3};
  saved.identity = {{"model", "resnet20"}, {"seed", "0"}};
  saved.environment = {.device = "cpu: a", .version = "0.1.0", .threads = 2, .plans = "{}"};
  saved.config = config_json({});
  saved.schedule = "{}";
  return saved;
}

TEST(RunState, SurvivesTheWayThroughJsonBitByBit) {
  const std::string json = saved_state_json(example());
  const SavedState back = parse_saved_state(json, "state.json");
  EXPECT_EQ(saved_state_json(back), json);
  EXPECT_EQ(back.state.interval.loss, 0.1 + 0.2);
  EXPECT_EQ(back.state.unusual.loss.variance, 1.0 / 3);
  EXPECT_EQ(back.state.unusual.last_norm, 0.7);
  EXPECT_EQ(back.state.best->acc1, 200.0 / 3);
  EXPECT_FALSE(back.state.last);
  EXPECT_EQ(back.identity, example().identity);
  EXPECT_EQ(back.state.loss_scale, example().state.loss_scale);
  EXPECT_EQ(back.state.steps_left_out, 3);
}

TEST(RunState, KeepsALossThatIsNotFinite) {
  SavedState saved = example();
  saved.state.best->loss = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(std::isnan(parse_saved_state(saved_state_json(saved), "state.json").state.best->loss));
}

TEST(RunState, RefusesWhatItDidNotWrite) {
  for (const char* text : {"", "[]", "{}", R"({"format":"engine-trainer-state","version":1})"}) {
    EXPECT_THROW(parse_saved_state(text, "x"), Error) << text;
  }
  std::string newer = saved_state_json(example());
  newer.replace(newer.find("\"version\": 1"), 12, "\"version\": 2");
  try {
    parse_saved_state(newer, "state.json");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::checkpoint);
    EXPECT_THAT(error.what(), HasSubstr("version 2, but this program reads engine-trainer-state version 1"));
  }
}

TEST(RunState, NamesWhatBelongsToAnotherRun) {
  try {
    check_identity({{"model", "resnet20"}, {"seed", "0"}}, {{"model", "resnet18"}, {"seed", "1"}}, "runs/a");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::checkpoint);
    EXPECT_THAT(error.what(),
                HasSubstr("runs/a belongs to another run: model is resnet18, the checkpoint has resnet20; "
                          "seed is 1, the checkpoint has 0"));
  }
}

TEST(RunState, ListsWhatChangesTheResult) {
  TrainConfig config;
  config.lr = 0.5;
  config.workers = 7;
  RunEnvironment environment = example().environment;
  environment.threads = 4;
  EXPECT_THAT(describe_changes(example(), config, environment),
              ElementsAre("lr: null before, 0.5 now", "threads: 2 before, 4 now"));
}

TEST(Metrics, RanksEqualScoresByPosition) {
  const Tensor logits = Tensor::from(std::vector<float>{1, 3, 3, 0, 2, 2}, {2, 3});
  const std::vector<Prediction> predictions = predict(logits, std::vector<int64_t>{2, 1});
  EXPECT_EQ(predictions[0].predicted, 1);
  EXPECT_EQ(predictions[0].rank, 1);
  EXPECT_EQ(predictions[1].predicted, 1);
  EXPECT_EQ(predictions[1].rank, 0);
  EXPECT_NEAR(predictions[1].loss, std::log(2 + std::exp(-2.0)), 1e-12);
  EXPECT_NEAR(predictions[1].probability, 1 / (2 + std::exp(-2.0)), 1e-12);
  EXPECT_EQ(count_correct(logits, std::vector<int64_t>{2, 1}), 1);
}

TEST(Metrics, NeverCountsNanAsRight) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor logits = Tensor::from(std::vector<float>{nan, nan, nan}, {1, 3});
  EXPECT_GT(predict(logits, std::vector<int64_t>{0})[0].rank, 0);
}

}  // namespace
}  // namespace engine
