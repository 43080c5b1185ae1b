#include "tools/experiment.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <optional>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/text.h"
#include "engine/train/budget.h"
#include "engine/train/experiment_report.h"
#include "engine/train/log.h"
#include "engine/train/progress.h"
#include "engine/train/signals.h"

namespace engine::tools {
namespace {

namespace fs = std::filesystem;

TrainCommand without(TrainCommand command, const std::vector<std::string_view>& keys) {
  std::erase_if(command.given, [&](const GivenSetting& given) {
    return std::find(keys.begin(), keys.end(), given.setting->key) != keys.end();
  });
  return command;
}

TrainCommand with(TrainCommand command, const char* key, const std::string& value) {
  command = without(std::move(command), {key});
  command.given.push_back({find_setting(key), value, std::string("--recipe: ") + key});
  return command;
}

TrainConfig flags_of(const TrainCommand& command) {
  TrainConfig config;
  apply_flags(config, command);
  return config;
}

fs::path folder_of(const TrainConfig& flags, const Recipe& recipe) {
  if (!flags.output_dir.empty()) return flags.output_dir;
  if (!flags.name.empty()) return fs::path("runs") / flags.name;
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[32];
  std::strftime(text, sizeof text, "-%Y%m%d-%H%M%S", &local);
  return fs::path("runs") / (fs::path(recipe.name).stem().string() + text);
}

// What an earlier start of the experiment in that folder has decided, so that it goes on as it began.
std::optional<int64_t> decided_epochs(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  long long epochs = 0;
  const std::string text = read_text_file(file, {.kind = ErrorKind::usage, .max_bytes = 100});
  if (std::sscanf(text.c_str(), "%lld epochs", &epochs) != 1 || epochs < 1) return std::nullopt;
  return epochs;
}

int64_t choose_epochs(const Recipe& recipe, const TrainCommand& command, double minutes, const ExperimentSteps& steps) {
  TrainConfig resolved;
  apply_recipe(resolved, recipe);
  double seconds = 0;
  for (const std::string& model : recipe.models) {
    if (stop_signal() != 0) break;
    seconds += steps.epoch_seconds(with(command, "model", model));
  }
  const int64_t epochs = epochs_within(minutes, seconds, resolved.epochs.value_or(90));
  log_info("budget   an epoch of the " + std::to_string(recipe.models.size()) + " nets takes " +
           duration_text(seconds) + "; " + std::to_string(epochs) + (epochs == 1 ? " epoch" : " epochs") + " each, " +
           duration_text(static_cast<double>(epochs) * seconds) + " in all");
  if (seconds > 60 * minutes) {
    log_warning("a single epoch of all nets exceeds --budget " + duration_text(60 * minutes) +
                " on this device; give more, or fewer pictures");
  }
  return epochs;
}

}  // namespace

std::optional<Recipe> find_experiment(const TrainCommand& command) {
  const TrainConfig flags = flags_of(command);
  if (command.mode != TrainCommand::Mode::train || flags.recipe.empty() || flags.model) return std::nullopt;
  Recipe recipe = find_recipe(flags.recipe);
  return recipe.is_experiment() ? std::optional(std::move(recipe)) : std::nullopt;
}

int run_experiment(const Recipe& recipe, const TrainCommand& command, const ExperimentSteps& steps) {
  const TrainConfig flags = flags_of(command);
  const fs::path folder = folder_of(flags, recipe);
  check(flags.resume.empty() || flags.resume == "auto", "--resume ", printable(flags.resume),
        ": an experiment of several nets goes on with --resume auto and its --output-dir");
  check(!flags.test_only, "--test-only tests one net, and --recipe ", recipe.name, " has several; add --model NAME");
  make_writable_directory(folder);
  const fs::path decision = folder / "epochs.txt";
  const bool begun = std::any_of(recipe.models.begin(), recipe.models.end(),
                                 [&](const std::string& model) { return fs::exists(folder / model); });
  check(!begun || flags.overwrite || !flags.resume.empty(), "--output-dir: ", printable(folder.string()),
        " already holds an experiment; continue it with --resume auto, or replace it with --overwrite");

  TrainCommand each = without(command, {"output_dir", "name", "budget", "resume", "overwrite"});
  if (flags.budget) {
    std::optional<int64_t> epochs;
    if (!flags.overwrite) epochs = decided_epochs(decision);
    if (!epochs) {
      epochs = choose_epochs(recipe, each, *flags.budget, steps);
      if (stop_signal() != 0) return 75;
      write_file_atomically(decision, std::string_view(std::to_string(*epochs) + " epochs\n"), ErrorKind::usage);
    }
    each = with(each, "epochs", std::to_string(*epochs));
  }
  for (size_t i = 0; i < recipe.models.size(); ++i) {
    const std::string& model = recipe.models[i];
    log_info(styled(Style::bold, "net " + std::to_string(i + 1) + "/" + std::to_string(recipe.models.size()) + "  ") +
             model);
    TrainCommand one = with(with(each, "model", model), "output_dir", (folder / model).string());
    one = flags.overwrite ? with(one, "overwrite", "true") : with(one, "resume", "auto");
    if (const int code = steps.train(one); code != 0) return code;
    write_experiment_report(folder, recipe.title,
                            {recipe.models.begin(), recipe.models.begin() + static_cast<std::ptrdiff_t>(i) + 1});
  }
  log_info(styled(Style::bold, "result   ") + experiment_summary(folder, recipe.models));
  log_info(styled(Style::bold, "report   ") + printable(fs::absolute(folder / "report.html").string()));
  return 0;
}

}  // namespace engine::tools
