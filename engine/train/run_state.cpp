#include "engine/train/run_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/error.h"
#include "engine/io/checksum.h"
#include "engine/text.h"

namespace engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "engine-trainer-state";
constexpr int kVersion = 1;
constexpr size_t kMaxListed = 5;

// JSON holds the shortest decimal that reads back as the same double, so sums survive bit by bit.
Json to_json(const MetricSums& sums) {
  return {{"loss", sums.loss}, {"correct", sums.correct}, {"correct5", sums.correct5}, {"count", sums.count}};
}

Json to_json(const ZScore& score) {
  return {{"mean", score.mean}, {"variance", score.variance}, {"count", score.count}};
}
Json to_json(const UnusualSteps& unusual) {
  return {{"loss", to_json(unusual.loss)},
          {"grad_norm", to_json(unusual.grad_norm)},
          {"last_norm", unusual.last_norm},
          {"loss_z", unusual.loss_z},
          {"norm_z", unusual.norm_z}};
}

// JSON has no NaN: what is not finite is written as null.
double to_double(const Json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}

MetricSums to_sums(const Json& json) {
  return {.loss = to_double(json.at("loss")),
          .correct = json.at("correct").get<int64_t>(),
          .correct5 = json.at("correct5").get<int64_t>(),
          .count = json.at("count").get<int64_t>()};
}

ZScore to_score(const Json& json) {
  return {.mean = json.at("mean").get<double>(),
          .variance = json.at("variance").get<double>(),
          .count = json.at("count").get<int64_t>()};
}
UnusualSteps to_unusual(const Json& json) {
  return {.loss = to_score(json.at("loss")),
          .grad_norm = to_score(json.at("grad_norm")),
          .last_norm = to_double(json.at("last_norm")),
          .loss_z = json.at("loss_z").get<double>(),
          .norm_z = json.at("norm_z").get<double>()};
}

Json to_json(const std::optional<ValidationResult>& result) {
  if (!result) return nullptr;
  Json json = {{"step", result->step},
               {"epoch", result->epoch},
               {"loss", result->loss},
               {"acc1", result->acc1},
               {"acc5", result->acc5},
               {"count", result->count},
               {"train_loss", result->train_loss},
               {"train_acc1", result->train_acc1}};
  if (const auto& average = result->average)
    json["average"] = {{"loss", average->loss}, {"acc1", average->acc1}, {"acc5", average->acc5}};
  return json;
}

std::optional<ValidationResult> to_validation(const Json& json) {
  if (json.is_null()) return std::nullopt;
  std::optional<AverageResult> average;
  if (json.contains("average")) {
    const Json& saved = json.at("average");
    average = {to_double(saved.at("loss")), to_double(saved.at("acc1")), to_double(saved.at("acc5"))};
  }
  return ValidationResult{.step = json.at("step").get<int64_t>(),
                          .epoch = json.at("epoch").get<int64_t>(),
                          .loss = to_double(json.at("loss")),
                          .acc1 = to_double(json.at("acc1")),
                          .acc5 = to_double(json.at("acc5")),
                          .count = json.at("count").get<int64_t>(),
                          .train_loss = to_double(json.at("train_loss")),
                          .train_acc1 = to_double(json.at("train_acc1")),
                          .average = average};
}

Json to_json(const LossScale& scale) {
  return {{"scale", scale.scale}, {"good_steps", scale.good_steps}, {"overflows", scale.overflows}};
}

// Absent in the checkpoints of earlier versions.
LossScale to_loss_scale(const Json& state) {
  if (!state.contains("loss_scale")) return {};
  const Json& json = state["loss_scale"];
  return {.scale = json.at("scale").get<double>(),
          .good_steps = json.at("good_steps").get<int64_t>(),
          .overflows = json.at("overflows").get<int64_t>()};
}

RunState to_state(const Json& json) {
  return {.step = json.at("step").get<int64_t>(),
          .epoch = json.at("epoch").get<int64_t>(),
          .step_in_epoch = json.at("step_in_epoch").get<int64_t>(),
          .interval = to_sums(json.at("interval")),
          .epoch_sums = to_sums(json.at("epoch_sums")),
          .average_updates = json.value("average_updates", int64_t{0}),
          .unusual = json.contains("unusual") ? to_unusual(json.at("unusual")) : UnusualSteps{},
          .best = to_validation(json.at("best")),
          .last = to_validation(json.at("last")),
          .seconds = json.at("seconds").get<double>(),
          .train_seconds = json.at("train_seconds").get<double>(),
          .train_images = json.at("train_images").get<int64_t>(),
          .loss_scale = to_loss_scale(json),
          .steps_left_out = json.value("steps_left_out", int64_t{0})};
}

std::string hash_of_labels(const Dataset& dataset) {
  std::vector<int64_t> labels(static_cast<size_t>(dataset.size()));
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = dataset.label(static_cast<int64_t>(i));
  return xxh3_128_hex(std::as_bytes(std::span(labels)));
}

std::string hash_of_classes(const Dataset& dataset) {
  std::string names;
  for (const std::string& name : dataset.class_names()) names += name + '\n';
  return xxh3_128_hex(std::as_bytes(std::span(names)));
}

// Settings without influence on any number of the run, or compared in another way.
bool changes_nothing(const std::string& key) {
  static const std::set<std::string> keys = {"data_path",        "val_path",
                                             "data_timeout",     "dataset",
                                             "workers",          "val_batch_size",
                                             "cache_bytes",      "max_steps",
                                             "checkpoint_steps", "checkpoint_minutes",
                                             "checkpoint_hist",  "threads",
                                             "weights",          "device"};
  return keys.contains(key);
}

}  // namespace

RunIdentity run_identity(const TrainConfig& resolved, const DatasetPair& data) {
  return {{"model", *resolved.model},
          {"num_classes", std::to_string(*resolved.num_classes)},
          {"training pictures", std::to_string(data.train->size())},
          {"validation pictures", std::to_string(data.val->size())},
          {"classes of the data", std::to_string(data.train->num_classes())},
          {"class names (XXH3)", hash_of_classes(*data.train)},
          {"labels (XXH3)", hash_of_labels(*data.train)},
          {"batch_size", std::to_string(*resolved.batch_size * resolved.ranks.value_or(1))},
          {"grad_accum_steps", std::to_string(resolved.grad_accum_steps)},
          {"seed", std::to_string(resolved.seed)}};
}

std::string saved_state_json(const SavedState& saved) {
  Json identity = Json::object();
  for (const auto& [key, value] : saved.identity) identity[key] = value;
  const RunState& state = saved.state;
  const Json json = {{"format", kFormat},
                     {"version", kVersion},
                     {"step", state.step},
                     {"epoch", state.epoch},
                     {"step_in_epoch", state.step_in_epoch},
                     {"interval", to_json(state.interval)},
                     {"epoch_sums", to_json(state.epoch_sums)},
                     {"average_updates", state.average_updates},
                     {"unusual", to_json(state.unusual)},
                     {"best", to_json(state.best)},
                     {"last", to_json(state.last)},
                     {"seconds", state.seconds},
                     {"train_seconds", state.train_seconds},
                     {"train_images", state.train_images},
                     {"loss_scale", to_json(state.loss_scale)},
                     {"steps_left_out", state.steps_left_out},
                     {"identity", identity},
                     {"environment",
                      {{"device", saved.environment.device},
                       {"engine", saved.environment.version},
                       {"threads", saved.environment.threads},
                       {"plans", saved.environment.plans}}},
                     {"config", Json::parse(saved.config)},
                     {"schedule", Json::parse(saved.schedule)}};
  return json.dump(1);
}

SavedState parse_saved_state(std::string_view text, const std::string& origin) {
  try {
    const Json json = Json::parse(text);
    if (json.at("format") != kFormat || json.at("version") != kVersion) {
      fail(ErrorKind::checkpoint, origin, ": format ", json.at("format").dump(), " version ", json.at("version").dump(),
           ", but this program reads ", kFormat, " version ", kVersion);
    }
    SavedState saved;
    saved.state = to_state(json);
    for (const auto& [key, value] : json.at("identity").items()) {
      saved.identity.emplace_back(key, value.get<std::string>());
    }
    const Json& environment = json.at("environment");
    saved.environment = {.device = environment.at("device").get<std::string>(),
                         .version = environment.at("engine").get<std::string>(),
                         .threads = environment.at("threads").get<int64_t>(),
                         .plans = environment.at("plans").get<std::string>()};
    saved.config = json.at("config").dump();
    saved.schedule = json.at("schedule").dump();
    return saved;
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorKind::checkpoint, origin, ": not a state that this program wrote (", error.what(), ")");
  }
}

void check_identity(const RunIdentity& saved, const RunIdentity& current, const std::string& origin) {
  std::vector<std::string> differences;
  for (const auto& [key, value] : current) {
    const auto found = std::find_if(saved.begin(), saved.end(), [&](const auto& entry) { return entry.first == key; });
    const std::string before = found == saved.end() ? "absent" : found->second;
    if (before != value) differences.push_back(fmt::format("{} is {}, the checkpoint has {}", key, value, before));
  }
  if (differences.empty()) return;
  const size_t listed = std::min(differences.size(), kMaxListed);
  std::string text =
      fmt::format("{}", fmt::join(differences.begin(), differences.begin() + static_cast<ptrdiff_t>(listed), "; "));
  if (listed < differences.size()) text += fmt::format("; and {} more", differences.size() - listed);
  fail(ErrorKind::checkpoint, "--resume: ", printable(origin), " belongs to another run: ", text,
       "; give the same settings, or start a new run from its weights with --weights");
}

std::vector<std::string> describe_changes(const SavedState& saved, const TrainConfig& config,
                                          const RunEnvironment& environment) {
  std::vector<std::string> changes;
  const auto note = [&](std::string_view what, const std::string& before, const std::string& now) {
    if (before != now) changes.push_back(fmt::format("{}: {} before, {} now", what, before, now));
  };
  const Json before = Json::parse(saved.config), now = Json::parse(config_json(config));
  for (const auto& [key, value] : now.items()) {
    if (!changes_nothing(key)) note(key, before.contains(key) ? before[key].dump() : "absent", value.dump());
  }
  note("threads", std::to_string(saved.environment.threads), std::to_string(environment.threads));
  note("device", saved.environment.device, environment.device);
  note("engine version", saved.environment.version, environment.version);
  return changes;
}

}  // namespace engine
