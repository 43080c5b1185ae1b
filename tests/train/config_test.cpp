#include "engine/train/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "engine/error.h"
#include "engine/train/log.h"
#include "engine/train/progress.h"
#include "engine/train/recipe.h"

namespace engine {
namespace {

using ::testing::HasSubstr;

DataFacts photographs() {
  return {.name = "flowers", .train_samples = 3200, .val_samples = 100, .num_classes = 5, .width = 500, .height = 375};
}
DataFacts cifar() {
  return {.name = "cifar", .train_samples = 45000, .val_samples = 5000, .num_classes = 10, .width = 32, .height = 32};
}

TEST(Config, SurvivesTheWayThroughJson) {
  TrainConfig config;
  config.model = "resnet50";
  config.lr = 0.1234567890123456789;
  config.lr_milestones = {30, 60.5};
  config.nesterov = true;
  config.val_split = 5000;
  config.data_path = "with \"quotes\" and \xc3\xa9";
  const std::string json = config_json(config);
  TrainConfig back;
  apply_config_json(back, json, "a file");
  EXPECT_EQ(config_json(back), json);
  EXPECT_EQ(back.lr, config.lr);
}

TEST(Config, NamesAndFlagsAreUnique) {
  std::set<std::string> keys;
  std::multiset<std::string> flags;
  for (const Setting& setting : settings()) {
    EXPECT_TRUE(keys.insert(setting.key).second) << setting.key;
    std::string text = setting.flags;
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      flags.insert(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  for (const std::string& flag : flags) EXPECT_EQ(flags.count(flag), 1u) << flag;
}

TEST(Config, StoresTheFirstOfEqualWords) {
  TrainConfig config;
  assign_setting(config, *find_setting("lr_scheduler"), "one-cycle", "--lr-scheduler");
  EXPECT_EQ(config.lr_scheduler, "onecycle");
  assign_setting(config, *find_setting("precision"), "bfloat16", "--precision");
  EXPECT_EQ(config.precision, "bf16");
}

TEST(Config, OptionsOfTheBinaryLossNeedIt) {
  TrainConfig config;
  config.bce_target_thresh = 0.2;
  try {
    check_config(config);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_STREQ(error.what(), "--bce-target-thresh belongs to --loss bce; add it");
  }
  config.bce_loss = true;
  check_config(config);
  config.model = "resnet20";
  EXPECT_EQ(resolve(config, cifar(), {}).loss, "bce");
}

TEST(Recipe, FollowsTheDataAndTheModel) {
  EXPECT_EQ(default_model(cifar()), "resnet20");
  EXPECT_EQ(default_model(photographs()), "resnet18");
  TrainConfig config;
  config.model = "any";
  const TrainConfig small = resolve(config, cifar(), {.image_size = 32});
  EXPECT_EQ(small.crop, "pad-crop");
  EXPECT_EQ(small.train_crop_size, 32);
  EXPECT_EQ(small.val_resize_size, 0);
  EXPECT_EQ(small.lr_scheduler, "onecycle");
  const TrainConfig large = resolve(config, photographs(), {.image_size = 224});
  EXPECT_EQ(large.crop, "rrc");
  EXPECT_EQ(large.train_crop_size, 224);
  EXPECT_EQ(large.val_resize_size, 256);
  EXPECT_EQ(large.lr_scheduler, "steplr");
  EXPECT_EQ(large.epochs, 90);
}

TEST(Recipe, GivesLargeNetworksSmallPicturesOnlyIfTheyCanTakeThem) {
  TrainConfig config;
  config.model = "any";
  EXPECT_EQ(resolve(config, cifar(), {.image_size = 224}).train_crop_size, 32);
  const TrainConfig intro = resolve(config, cifar(), {.image_size = 224, .minimum_image_size = 193});
  EXPECT_EQ(intro.train_crop_size, 224);
  EXPECT_EQ(intro.crop, "rrc");
  config.train_crop_size = 128;
  try {
    resolve(config, photographs(), {.image_size = 224, .minimum_image_size = 193});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("--train-crop-size=128 is too small for any, which needs 193"));
  }
}

TEST(Recipe, ScalesTheBaseRateWithTheGlobalBatch) {
  TrainConfig config;
  config.model = "any";
  config.lr_base = 0.1;
  config.batch_size = 64;
  config.grad_accum_steps = 8;
  EXPECT_DOUBLE_EQ(*resolve(config, photographs(), {}).lr, 0.1 * 512 / 256);
}

TEST(Recipe, RefusesABatchLargerThanTheData) {
  TrainConfig config;
  config.model = "any";
  config.batch_size = 400;
  config.grad_accum_steps = 10;
  try {
    resolve(config, photographs(), {});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("--batch-size=400 times --grad-accum-steps=10 is more than the 3200 training pictures"));
  }
}

TEST(Recipe, CountsScheduleTimesInEpochs) {
  TrainConfig config;
  config.model = "any";
  config.epochs = 10;
  config.lr = 1.0;
  config.lr_scheduler = "multistep";
  config.lr_milestones = {3, 7.5};
  config.lr_warmup_epochs = 0.5;
  const TrainConfig resolved = resolve(config, photographs(), {});
  ASSERT_EQ(steps_per_epoch(resolved, 3200), 100);
  const Schedule schedule = make_schedule(resolved, 100);
  EXPECT_EQ(schedule.total_steps, 1000);
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.01);  // lr * lr_warmup_decay
  EXPECT_DOUBLE_EQ(schedule.at(50), 1.0);
  EXPECT_DOUBLE_EQ(schedule.at(299), 1.0);
  EXPECT_DOUBLE_EQ(schedule.at(300), 0.1);
  EXPECT_DOUBLE_EQ(schedule.at(749), 0.1);
  EXPECT_NEAR(schedule.at(750), 0.01, 1e-15);
}

TEST(Recipe, AllowsAsManyBadPicturesAsAsked) {
  TrainConfig config;
  config.max_bad = 10;
  const double fraction = max_bad_fraction(config, 333);
  EXPECT_LE(10, fraction * 333);
  EXPECT_GT(11, fraction * 333);
  EXPECT_GT(12.0 / 12000, max_bad_fraction({}, 12000) - 1.0 / 12000);
}

TEST(Progress, SaysWhatBoundsTheStep) {
  const Progress progress{.epoch = 2,
                          .epochs = 10,
                          .step = 250,
                          .total_steps = 1560,
                          .step_in_epoch = 94,
                          .steps_per_epoch = 156,
                          .loss = 1.25,
                          .acc1 = 50,
                          .grad_norm = 1.8349,
                          .loss_z = 0.44,
                          .norm_z = 6.25,
                          .lr = 0.1,
                          .img_per_s = 1050,
                          .data_wait = 0.4,
                          .bound = "data",
                          .seconds_left = 3725};
  EXPECT_EQ(progress_line(progress),
            "epoch 2/10  step 250/1560  loss 1.2500  acc1 50.00  grad 1.83  z 0.4 6.2  lr 0.1  1,050 img/s  data 40%  "
            "bound=data  "
            "ETA 1:02:05");
  EXPECT_EQ(progress_bar(progress, 60), "epoch 2/10 [============>       ]  60%  ETA 1:02:05");
}

TEST(Log, HonoursTheEnvironmentsWishForColour) {
  EXPECT_FALSE(use_color({.terminal = false}));
  EXPECT_TRUE(use_color({.term = "xterm", .terminal = true}));
  EXPECT_FALSE(use_color({.term = "dumb", .terminal = true}));
  EXPECT_FALSE(use_color({.no_color = "1", .clicolor_force = "1", .term = "xterm", .terminal = true}));
  EXPECT_TRUE(use_color({.no_color = "", .clicolor_force = "1"}));
  EXPECT_FALSE(use_color({.clicolor_force = "0"}));
  EXPECT_TRUE(use_color({.mode = ColorMode::always, .no_color = "1"}));
  EXPECT_FALSE(use_color({.mode = ColorMode::never, .term = "xterm", .terminal = true}));
}

}  // namespace
}  // namespace engine
