#include "engine/train/recipe_book.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/text.h"
#include "engine/train/recipe_texts.h"

namespace engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kMaxRecipeBytes = 1 << 20;
constexpr uint64_t kMaxMetricsBytes = uint64_t{1} << 30;

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Recipe& recipe : recipes()) all.push_back(recipe.name);
  return all;
}

std::string flag_of(const Setting& setting) {
  const std::string flags = setting.flags;
  const size_t begin = flags.find("--");
  return flags.substr(begin, flags.find(',', begin) - begin);
}

std::string plain_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::string text;
  for (const Json& part : value) text += (text.empty() ? "" : ",") + plain_text(part);
  return text;
}

// "--epochs 90 --lr 0.1": what the recipe's settings are on a command line.
std::string flags_of(const Recipe& recipe) {
  std::string line;
  const Json json = Json::parse(recipe.config);
  for (const auto& [key, value] : json.items()) {
    const Setting* setting = find_setting(key);
    if (!setting || value == false) continue;
    line += (line.empty() ? "" : " ") + flag_of(*setting);
    if (!is_switch(*setting)) line += " " + plain_text(value);
  }
  return line;
}

std::string wrapped(const std::string& text, size_t columns, const std::string& indent) {
  std::string lines = indent;
  size_t used = indent.size();
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (used + 1 + word.size() > columns) {
      lines += "\n" + indent;
      used = indent.size();
    } else if (used > indent.size()) {
      lines += ' ';
      ++used;
    }
    lines += word;
    used += word.size();
  }
  return lines + "\n";
}

}  // namespace

const ExpectedAccuracy* Recipe::expectation(std::string_view model) const {
  const auto found =
      std::find_if(expected.begin(), expected.end(), [&](const ExpectedAccuracy& one) { return one.model == model; });
  return found == expected.end() ? nullptr : &*found;
}

Recipe parse_recipe(std::string_view text, const std::string& origin) {
  try {
    const Json json = Json::parse(text);
    Recipe recipe{.name = origin,
                  .title = json.at("title"),
                  .data = json.value("data", ""),
                  .source = json.at("source"),
                  .differs = json.value("differs", ""),
                  .models = json.value("models", std::vector<std::string>()),
                  .config = json.at("config").dump()};
    if (!json.at("config").is_object()) fail(ErrorKind::usage, "config is no object");
    for (const Json& one : json.value("expected", Json::array())) {
      recipe.expected.push_back({one.at("model"), one.at("acc1"), one.at("band"), one.at("source")});
    }
    if (const auto reference = json.find("reference"); reference != json.end()) {
      recipe.reference = {.name = origin,
                          .model = reference->at("model"),
                          .measured = reference->at("measured"),
                          .epochs = reference->at("epochs"),
                          .train_acc1 = reference->at("train_acc1"),
                          .val_acc1 = reference->at("val_acc1")};
      const size_t points = recipe.reference->epochs.size();
      check(points > 0 && recipe.reference->train_acc1.size() == points && recipe.reference->val_acc1.size() == points,
            "the reference's epochs, train_acc1 and val_acc1 are not of one length");
    }
    return recipe;
  } catch (const std::exception& error) {
    fail(ErrorKind::usage, "--recipe ", printable(origin), ": not a recipe: ", printable(error.what()));
  }
}

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> all = [] {
    std::vector<std::pair<int, Recipe>> ordered;
    for (const auto& [name, text] : recipe_texts()) {
      ordered.emplace_back(Json::parse(text).value("order", 0), parse_recipe(text, std::string(name)));
    }
    std::stable_sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Recipe> result;
    for (auto& [order, recipe] : ordered) result.push_back(std::move(recipe));
    return result;
  }();
  return all;
}

Recipe find_recipe(const std::string& name) {
  if (name.ends_with(".json")) {
    return parse_recipe(read_text_file(name, {.kind = ErrorKind::usage, .max_bytes = kMaxRecipeBytes}), name);
  }
  for (const Recipe& recipe : recipes()) {
    if (recipe.name == name) return recipe;
  }
  fail(ErrorKind::usage, "--recipe: unknown recipe '", printable(name), "'; did you mean '", nearest(name, names()),
       "'? Known: ", fmt::format("{}", fmt::join(names(), ", ")), ", or a file that ends in .json");
}

void apply_recipe(TrainConfig& config, const Recipe& recipe) {
  apply_config_json(config, recipe.config, recipe.name);
  config.recipe = recipe.name;
}

bool stretch_times(TrainConfig& config, const Recipe& recipe) {
  TrainConfig original;
  apply_recipe(original, recipe);
  return stretch_times(config, original);
}

bool stretch_times(TrainConfig& config, const TrainConfig& original) {
  if (!original.epochs || !config.epochs || *original.epochs == *config.epochs) return false;
  const double ratio = static_cast<double>(*config.epochs) / static_cast<double>(*original.epochs);
  bool stretched = false;
  const auto stretch = [&](double& value, double recipes_own) {
    if (value != recipes_own || value == 0) return;
    value *= ratio;
    stretched = true;
  };
  if (config.lr_milestones == original.lr_milestones) {
    for (double& milestone : config.lr_milestones) stretch(milestone, milestone);
  }
  if (config.lr_scheduler == "steplr") stretch(config.lr_step_size, original.lr_step_size);
  if (config.lr_warmup_epochs && original.lr_warmup_epochs) {
    stretch(*config.lr_warmup_epochs, *original.lr_warmup_epochs);
  }
  return stretched;
}

std::string recipe_list() {
  std::string text;
  for (const Recipe& recipe : recipes()) {
    text += fmt::format("{:<15} {}; data: {}\n", recipe.name, recipe.title, recipe.data);
    text += wrapped("from: " + recipe.source, 118, "    ");
    for (const ExpectedAccuracy& one : recipe.expected) {
      text += fmt::format("    expected: {} {:.2f} ± {:.2f}% ({})\n", one.model, one.acc1, one.band, one.source);
    }
    if (!recipe.differs.empty()) text += wrapped("note: " + recipe.differs, 118, "    ");
    if (recipe.reference) text += fmt::format("    curve: {}\n", recipe.reference->measured);
    if (!recipe.models.empty()) text += fmt::format("    nets: {}\n", fmt::join(recipe.models, ", "));
    text += wrapped(flags_of(recipe), 118, "    ");
  }
  return text;
}

ReferenceCurve find_reference(const std::string& name) {
  const std::filesystem::path metrics = std::filesystem::path(name) / "metrics.jsonl";
  std::error_code ignored;
  if (!std::filesystem::exists(metrics, ignored)) {
    const auto known = names();
    const bool is_recipe = name.ends_with(".json") || std::find(known.begin(), known.end(), name) != known.end();
    if (!is_recipe) {
      fail(ErrorKind::usage, "--compare-to: ", printable(name),
           " is neither the folder of a run nor a recipe; did you mean '", nearest(name, known), "'?");
    }
    const Recipe recipe = find_recipe(name);
    check(recipe.reference.has_value(), "--compare-to ", printable(name),
          ": no curve of this recipe was measured; give the folder of a run instead");
    return *recipe.reference;
  }
  ReferenceCurve curve{.name = std::filesystem::path(name).lexically_normal().filename().string(),
                       .measured = "metrics.jsonl"};
  if (curve.name.empty()) curve.name = name;
  std::istringstream lines(read_text_file(metrics, {.kind = ErrorKind::usage, .max_bytes = kMaxMetricsBytes}));
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || json.value("event", "") != "val") continue;
    curve.epochs.push_back(json.value("epoch", 0.0));
    curve.train_acc1.push_back(json.value("train_acc1", 0.0));
    curve.val_acc1.push_back(json.value("acc1", 0.0));
  }
  check(!curve.epochs.empty(), "--compare-to ", printable(name), ": this run has not finished an epoch");
  return curve;
}

}  // namespace engine
