#pragma once
// Recipes: published ways to train a ResNet, as data. They lie in engine/train/recipes/*.json and are compiled in; a file of the
// same form can be given instead of a name.
//
//   {"title": .., "data": "ImageNet-1k", "source": .., "differs": "what is not as in the source",
//    "models": ["plain20", ..],      several nets, trained one after another: an experiment
//    "config": {settings by key},
//    "expected": [{"model": "resnet50", "acc1": 76.13, "band": 0.3, "source": ..}, ..],
//    "reference": {"model": .., "measured": "where", "epochs": [..], "train_acc1": [..], "val_acc1": [..]}}
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/train/config.h"

namespace engine {

struct ExpectedAccuracy {
  std::string model;
  double acc1 = 0, band = 0;  // percent: acc1 ± band
  std::string source;
};

// A course of training that this project has measured.
struct ReferenceCurve {
  std::string name;                                  // of the recipe or run
  std::string model;                                 // empty: unknown
  std::string measured;                              // by what, where
  std::vector<double> epochs, train_acc1, val_acc1;  // of equal length; epochs ascending, accuracies in percent
};

struct Recipe {
  std::string name;
  std::string title, data, source, differs;
  std::vector<std::string> models;  // empty but for experiments
  std::string config;               // JSON object of settings
  std::vector<ExpectedAccuracy> expected;
  std::optional<ReferenceCurve> reference;

  bool is_experiment() const { return models.size() > 1; }
  // nullptr if nothing is known of that net.
  const ExpectedAccuracy* expectation(std::string_view model) const;
};

// Those that are compiled in, in the order in which they are listed.
const std::vector<Recipe>& recipes();

// Throws Error(usage) if the text is not a recipe. `origin` is its file or name.
Recipe parse_recipe(std::string_view json, const std::string& origin);

// By name, or from a file if `name` ends in .json. Throws Error(usage) with the nearest name, or if the file is not
// one.
Recipe find_recipe(const std::string& name);

// Assigns the recipe's settings and config.recipe. Throws Error(usage) for a recipe of a file that names a setting that
// does not exist.
void apply_recipe(TrainConfig& config, const Recipe& recipe);

// A recipe shortened or lengthened: where `config` has another number of epochs than the recipe, the times that are
// still the recipe's (milestones, step size, warm-up) are stretched with it. False if there was nothing to do.
bool stretch_times(TrainConfig& config, const Recipe& recipe);
// The same for any configuration and one that it was made of.
bool stretch_times(TrainConfig& config, const TrainConfig& original);

// The table of --list-recipes, with the flags that each stands for.
std::string recipe_list();

// The curve that --compare-to names: a recipe's, or that of the run in a folder (its metrics.jsonl). Throws
// Error(usage) if there is none.
ReferenceCurve find_reference(const std::string& recipe_or_run);

}  // namespace engine
