#include "engine/train/accuracy.h"

#include <gtest/gtest.h>

namespace engine {
namespace {

TEST(Accuracy, HasAnUncertainty) {
  EXPECT_NEAR(wilson_half_width(82.34, 5000), 1.06, 0.005);  // 4117 of 5000
  EXPECT_GT(wilson_half_width(100, 5000), 0);
  EXPECT_EQ(wilson_half_width(50, 0), 0);
}

const DataFacts kCifar = {
    .name = "cifar", .train_samples = 50000, .val_samples = 10000, .num_classes = 10, .width = 32, .height = 32};
const DataFacts kImageNet = {.name = "imagenet",
                             .train_samples = 1281167,
                             .val_samples = 50000,
                             .num_classes = 1000,
                             .width = 500,
                             .height = 375};

TrainConfig tested_at(int64_t resize, int64_t crop) {
  TrainConfig config;
  config.model = "resnet50";
  config.val_resize_size = resize;
  config.val_crop_size = crop;
  return config;
}

TEST(Accuracy, IsComparableOnlyWhereOthersMeasured) {
  EXPECT_EQ(not_paper_comparable(tested_at(0, 32), kCifar, 10000, 0), "");
  EXPECT_EQ(not_paper_comparable(tested_at(256, 224), kImageNet, 50000, 0), "");
  EXPECT_EQ(not_paper_comparable(tested_at(256, 256), kImageNet, 50000, 0),
            "tested at 256 px of 256, published are those at 224 px of 256");
  EXPECT_EQ(not_paper_comparable(tested_at(256, 224), kImageNet, 49999, 1), "1 pictures were skipped");
  EXPECT_EQ(not_paper_comparable(tested_at(256, 224), kImageNet, 100, 0),
            "100 pictures, published are those of 50,000");
  TrainConfig held_out = tested_at(0, 32);
  held_out.val_split = 0.1;
  EXPECT_EQ(not_paper_comparable(held_out, kCifar, 5000, 0),
            "5,000 held-out training pictures, published are those of the 10,000 test pictures");
  DataFacts flowers = kImageNet;
  flowers.num_classes = 5;
  EXPECT_EQ(not_paper_comparable(tested_at(256, 224), flowers, 50000, 0), "neither ImageNet-1k nor CIFAR: 5 classes");
  EXPECT_EQ(not_paper_comparable(tested_at(0, 32), {.generated = true}, 10000, 0),
            "the pictures are drawn by this program");
}

TEST(Accuracy, IsHeldAgainstItsRecipe) {
  TrainConfig config = tested_at(256, 224);
  EXPECT_EQ(against_recipe(config, 76.0, true), "");
  config.recipe = "tv-v1";
  const std::string expects = "tv-v1 expects 76.13 ± 0.30% on ImageNet-1k (torchvision, IMAGENET1K_V1)";
  EXPECT_EQ(recipe_expectation(config), expects);
  EXPECT_EQ(against_recipe(config, 75.9, true), expects + ": reached");
  EXPECT_EQ(against_recipe(config, 74.83, true), expects + ": missed by 1.00 points");
  EXPECT_EQ(against_recipe(config, 74.83, false), expects + ", which this accuracy cannot be compared with");
  config.model = "resnet20";
  EXPECT_EQ(against_recipe(config, 74.83, true), "");
}

}  // namespace
}  // namespace engine
