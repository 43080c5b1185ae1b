#include "engine/train/recipe_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/io/io_testing.h"

namespace engine {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;

const char* const kSmall = R"({"title": "t", "source": "s", "config": {"lr": 0.5, "epochs": 10}})";

TEST(RecipeBook, EveryRecipeIsWhole) {
  ASSERT_FALSE(recipes().empty());
  for (const Recipe& recipe : recipes()) {
    SCOPED_TRACE(recipe.name);
    TrainConfig config;
    apply_recipe(config, recipe);
    EXPECT_NO_THROW(check_config(config));
    EXPECT_EQ(config.recipe, recipe.name);
    EXPECT_TRUE(config.epochs && (config.lr || config.lr_base) && config.lr_scheduler && config.weight_decay);
    EXPECT_TRUE(config.model || recipe.is_experiment());
    EXPECT_FALSE(recipe.title.empty() || recipe.data.empty() || recipe.source.empty());
    for (const ExpectedAccuracy& one : recipe.expected) {
      EXPECT_TRUE(one.acc1 > 50 && one.acc1 < 100 && one.band > 0 && !one.source.empty()) << one.model;
    }
    if (config.model) {
      EXPECT_EQ(recipe.expected.empty(), !recipe.expectation(*config.model));
    }
    EXPECT_THAT(recipe_list(), HasSubstr(recipe.name));
  }
}

TEST(RecipeBook, TellsFlagsAndExpectation) {
  EXPECT_THAT(recipe_list(), AllOf(HasSubstr("expected: resnet50 76.13 ± 0.30% (torchvision, IMAGENET1K_V1)"),
                                   HasSubstr("--lr-milestones 82,123")));
  EXPECT_EQ(find_recipe("paper-cifar").expectation("resnet56")->acc1, 93.03);
  EXPECT_EQ(find_recipe("paper-cifar").expectation("resnet50"), nullptr);
  EXPECT_TRUE(find_recipe("degradation").is_experiment());
}

TEST(RecipeBook, NamesTheNearest) {
  EXPECT_THAT(error_of(ErrorKind::usage, [] { find_recipe("tv1"); }),
              HasSubstr("--recipe: unknown recipe 'tv1'; did you mean 'tv-v1'? Known: tv-v1, "));
  EXPECT_THAT(
      error_of(ErrorKind::usage, [] { find_reference("papercifar"); }),
      HasSubstr("--compare-to: papercifar is neither the folder of a run nor a recipe; did you mean 'paper-cifar'?"));
  EXPECT_THAT(error_of(ErrorKind::usage, [] { find_reference("tv-v1"); }),
              HasSubstr("--compare-to tv-v1: no curve of this recipe was measured"));
}

TEST(RecipeBook, AFileIsARecipeToo) {
  test::TemporaryDirectory directory;
  const std::string path = (directory.path() / "mine.json").string();
  std::ofstream(path) << kSmall;
  const Recipe recipe = find_recipe(path);
  TrainConfig config;
  apply_recipe(config, recipe);
  EXPECT_EQ(config.lr, 0.5);
  EXPECT_EQ(config.recipe, path);
  for (const char* broken : {"", "[]", R"({"title": "t"})", R"({"title": 1, "source": "s", "config": {}})",
                             R"({"title": "t", "source": "s", "config": []})"}) {
    EXPECT_THAT(error_of(ErrorKind::usage, [&] { parse_recipe(broken, "x"); }), HasSubstr("--recipe x: not a recipe"));
  }
  EXPECT_THAT(
      error_of(
          ErrorKind::usage,
          [&] { apply_recipe(config, parse_recipe(R"({"title": "t", "source": "s", "config": {"lrr": 1}})", "x")); }),
      HasSubstr("x: unknown setting 'lrr'; did you mean 'lr'?"));
}

TEST(RecipeBook, TimesFollowTheNumberOfEpochs) {
  const Recipe recipe = find_recipe("paper-cifar");
  TrainConfig config;
  apply_recipe(config, recipe);
  EXPECT_FALSE(stretch_times(config, recipe));
  config.epochs = 41;
  EXPECT_TRUE(stretch_times(config, recipe));
  EXPECT_EQ(config.lr_milestones, (std::vector<double>{20.5, 30.75}));
  apply_recipe(config, recipe);
  config.epochs = 41;
  config.lr_milestones = {10};  // the user's
  EXPECT_FALSE(stretch_times(config, recipe));
  EXPECT_EQ(config.lr_milestones, std::vector<double>{10});
}

TEST(RecipeBook, ARunIsAReference) {
  test::TemporaryDirectory directory;
  std::ofstream(directory.path() / "metrics.jsonl")
      << R"({"event":"train","step":3,"acc1":9})"
      << "\n"
      << R"({"event":"val","step":5,"epoch":1,"acc1":40.5,"train_acc1":33})"
      << "\n"
      << R"({"event":"val","step":10,"epoch":2,"acc1":60,"train_acc1":55})"
      << "\n{\"event\":\"va";
  const ReferenceCurve curve = find_reference(directory.path().string());
  EXPECT_EQ(curve.epochs, (std::vector<double>{1, 2}));
  EXPECT_EQ(curve.val_acc1, (std::vector<double>{40.5, 60}));
  EXPECT_EQ(curve.train_acc1, (std::vector<double>{33, 55}));
  EXPECT_EQ(find_reference("airbench-like").val_acc1.size(), 6u);
}

}  // namespace
}  // namespace engine
