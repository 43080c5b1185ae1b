#pragma once
// Recipes of several nets: --recipe degradation.
#include <functional>

#include "engine/train/recipe_book.h"
#include "tools/train_flags.h"

namespace engine::tools {

struct ExperimentSteps {
  std::function<int(const TrainCommand&)> train;             // one net; returns the exit code
  std::function<double(const TrainCommand&)> epoch_seconds;  // of one net, measured
};

// The experiment that the command asks for; nothing if its recipe trains one net, or --model chooses one of them.
std::optional<Recipe> find_experiment(const TrainCommand& command);

// Trains the recipe's nets one after another, each a run of its own in DIR/MODEL, DIR being --output-dir, and draws
// DIR/report.html after each. Started again with --resume auto it goes on where it was stopped. Returns the exit code.
int run_experiment(const Recipe& recipe, const TrainCommand& command, const ExperimentSteps& steps);

}  // namespace engine::tools
