#include "engine/train/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/data/resize.h"
#include "engine/error.h"
#include "engine/text.h"
#include "engine/train/log.h"
#include "engine/train/report.h"
#include "engine/train/version.h"

namespace engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kThumbnail = 128;  // pixels of the longer side

void read_curves(const std::filesystem::path& metrics, ReportData& report) {
  std::ifstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) continue;
    const auto add = [&](ReportCurve& curve, const char* key) {
      if (!json.contains("step") || !json.contains(key) || !json[key].is_number()) return;
      curve.push_back({json["step"].get<double>(), json[key].get<double>()});
    };
    const std::string event = json.value("event", "");
    if (event == "train") {
      add(report.train_loss, "loss");
      add(report.train_acc1, "acc1");
      add(report.learning_rate, "lr");
      add(report.img_per_s, "img_per_s");
    } else if (event == "val") {
      add(report.val_loss, "loss");
      add(report.val_acc1, "acc1");
    }
  }
}

ReportImage thumbnail(const Image& image) {
  const double scale = std::min(1.0, static_cast<double>(kThumbnail) / std::max(image.width, image.height));
  const auto shrunk = [&](int extent) { return std::max(1, static_cast<int>(extent * scale)); };
  const Image small = scale < 1 ? resize(image, {.width = shrunk(image.width), .height = shrunk(image.height)}) : image;
  return {small.width, small.height, small.pixels};
}

ReportTable configuration(const TrainConfig& config) {
  ReportTable table;
  const Json json = Json::parse(config_json(config));
  for (const auto& [key, value] : json.items()) {
    const bool unset = value.is_null() || value == "" || (value.is_array() && value.empty());
    if (!unset) table.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return table;
}

std::vector<std::string> class_names(const Dataset& data, int64_t classes) {
  std::vector<std::string> names;
  for (const std::string& name : data.class_names()) names.push_back(printable(name));
  while (static_cast<int64_t>(names.size()) < classes) names.push_back(fmt::format("class {}", names.size()));
  return names;
}

std::string shell_line(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + printable(word);
  return line;
}

}  // namespace

void write_run_report(const std::filesystem::path& run_dir, const RunDescription& run, const RunSummary& summary,
                      const Evaluation& evaluation, const Dataset& val) {
  const RunState& state = summary.state;
  ReportData report{
      .run = printable(std::filesystem::absolute(run_dir).lexically_normal().filename().string()),
      .model = summary.model,
      .data = run.data.name,
      .outcome = summary.reason,
      .command_line = shell_line(run.command_line),
      .val_samples = evaluation.sums.count,
      .epochs = static_cast<double>(state.epoch),
      .steps = state.step,
      .parameters = run.model.parameters,
      .seconds = state.seconds,
      .train_img_per_s = state.train_seconds > 0 ? static_cast<double>(state.train_images) / state.train_seconds : 0,
      .steps_per_epoch = static_cast<double>(steps_per_epoch(run.config, run.data.train_samples)),
      .class_names = class_names(val, run.model.num_classes),
      .confusion = evaluation.confusion,
      .configuration = configuration(run.config)};
  if (state.best) {
    report.best_val_acc1 = state.best->acc1;
    report.best_epoch = static_cast<double>(state.best->epoch);
  }
  if (summary.final_validation) report.final_val_acc1 = summary.final_validation->acc1;
  report.versions = {{"engine", version()},
                     {"build", build_description()},
                     {"device", run.environment.device},
                     {"threads", std::to_string(run.environment.threads)},
                     {"data", run.data_summary}};
  read_curves(run_dir / "metrics.jsonl", report);
  try {
    for (const Mistake& mistake : evaluation.mistakes) {
      report.mistakes.push_back({.image = thumbnail(val.load(mistake.index)),
                                 .label = mistake.prediction.label,
                                 .predicted = mistake.prediction.predicted,
                                 .probability = mistake.prediction.probability,
                                 .source = val.describe(mistake.index)});
    }
    write_report(run_dir / "report.html", report);
  } catch (const Error& error) {
    log_warning(std::string("no report: ") + error.what());
  }
}

}  // namespace engine
