#include "engine/train/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/data/resize.h"
#include "engine/error.h"
#include "engine/text.h"
#include "engine/train/log.h"
#include "engine/train/recipe_book.h"
#include "engine/train/report.h"
#include "engine/train/version.h"

namespace engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kThumbnail = 128;  // pixels of the longer side

// The curves, the table of epochs, and the mean shares of the time.
void read_curves(const std::filesystem::path& metrics, ReportData& report) {
  std::ifstream lines(metrics);
  int64_t timed = 0;
  double lr = 0, img_per_s = 0;
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
      add(report.grad_norm, "grad_norm");
      lr = json.value("lr", 0.0);
      img_per_s = json.value("img_per_s", 0.0);
      if (const auto time = json.find("time"); time != json.end() && time->is_object()) {
        ++timed;
        report.times.data += time->value("data", 0.0);
        report.times.copy += time->value("copy", 0.0);
        report.times.device += time->value("device", 0.0);
        report.times.comm += time->value("comm", 0.0);
        report.times.host += time->value("host", 0.0);
      }
    } else if (event == "val") {
      add(report.val_loss, "loss");
      add(report.val_acc1, "acc1");
      add(report.ema_val_acc1, "ema_acc1");
      report.by_epoch.push_back({.epoch = json.value("epoch", 0.0),
                                 .train_loss = json.value("train_loss", 0.0),
                                 .train_acc1 = json.value("train_acc1", 0.0),
                                 .val_loss = json.value("loss", 0.0),
                                 .val_acc1 = json.value("acc1", 0.0),
                                 .ema_acc1 = json.value("ema_acc1", std::numeric_limits<double>::quiet_NaN()),
                                 .lr = lr,
                                 .img_per_s = img_per_s,
                                 .seconds = json.value("seconds", 0.0)});
    }
  }
  if (timed == 0) return;
  for (double* share :
       {&report.times.data, &report.times.copy, &report.times.device, &report.times.comm, &report.times.host}) {
    *share /= static_cast<double>(timed);
  }
}

// --compare-to, at the steps of this run's epochs.
void add_reference(const TrainConfig& config, ReportData& report) {
  if (config.compare_to.empty()) return;
  const ReferenceCurve curve = find_reference(config.compare_to);
  report.reference = printable(curve.name);
  for (size_t i = 0; i < curve.epochs.size(); ++i) {
    const double step = curve.epochs[i] * report.steps_per_epoch;
    report.reference_train_acc1.push_back({step, curve.train_acc1[i]});
    report.reference_acc1.push_back({step, curve.val_acc1[i]});
  }
}

// The filters of a first layer that looks at colours, as pictures; none of another net.
std::vector<ReportImage> first_filters(const TrainableModel& model) {
  std::vector<ReportImage> pictures;
  for (const NamedParameter& parameter : model.module->parameters()) {
    if (parameter.name != "conv1.weight" || parameter.tensor.shape().rank() != 4 || parameter.tensor.size(3) != 3)
      continue;
    const Tensor& filters = parameter.tensor;  // [K,R,S,3]
    const std::vector<float> weights = filters.to_vector<float>();
    const int64_t size = filters.size(1) * filters.size(2) * 3;
    for (int64_t k = 0; k < filters.size(0); ++k) {
      const std::span<const float> filter(weights.data() + k * size, static_cast<size_t>(size));
      float largest = 0;
      for (const float weight : filter) largest = std::max(largest, std::abs(weight));
      ReportImage picture{filters.size(2), filters.size(1), {}};
      for (const float weight : filter) {
        const float share = largest > 0 ? weight / largest : 0;
        picture.rgb.push_back(static_cast<uint8_t>(std::lround(127.5F + 127.5F * share)));
      }
      pictures.push_back(std::move(picture));
    }
    break;
  }
  return pictures;
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
  report.peak_memory = static_cast<int64_t>(summary.peak_memory);
  if (summary.final_validation) {
    const std::string& why = summary.not_paper_comparable;
    report.comparable = why.empty() ? "yes" : "no (" + why + ")";
  }
  report.filters = first_filters(run.model);
  try {
    add_reference(run.config, report);
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
