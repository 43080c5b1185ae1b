#include "engine/train/run_files.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/train/log.h"
#include "engine/train/version.h"

namespace engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kMaxRunJsonBytes = 64 << 20;

std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Null if it does not exist; a file that is damaged is discarded.
Json read_json(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return nullptr;
  const std::string text = read_text_file(path, {.kind = ErrorKind::usage, .max_bytes = kMaxRunJsonBytes});
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

Json earlier_starts(const std::filesystem::path& path) {
  const Json old = read_json(path);
  if (!old.is_object() || !old.contains("starts") || !old["starts"].is_array()) return Json::array();
  return old["starts"];
}

std::string operating_system() {
  utsname names{};
  if (::uname(&names) != 0) return "unknown";
  return std::string(names.sysname) + " " + names.release + " " + names.machine;
}

Json percent(const std::optional<ValidationResult>& result) {
  return result ? Json(result->acc1) : Json(nullptr);
}

}  // namespace

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

void write_run_json(const std::filesystem::path& run_dir, const RunDescription& run, bool resumed) {
  const std::filesystem::path path = run_dir / "run.json";
  Json starts = resumed ? earlier_starts(path) : Json::array();
  starts.push_back({{"ts", unix_time()},
                    {"step", run.first_step},
                    {"command", run.command_line},
                    {"host", host_name()},
                    {"pid", ::getpid()},
                    {"session", Json::parse(config_json(run.config, SettingScope::session))}});
  const Json json = {{"engine", version()},
                     {"build", build_description()},
                     {"device", run.environment.device},
                     {"threads", run.environment.threads},
                     {"os", operating_system()},
                     {"model",
                      {{"name", run.model.name},
                       {"parameters", run.model.parameters},
                       {"gmacs", static_cast<double>(run.model.macs) / 1e9},
                       {"num_classes", run.model.num_classes}}},
                     {"data",
                      {{"summary", run.data_summary},
                       {"train_samples", run.data.train_samples},
                       {"val_samples", run.data.val_samples},
                       {"num_classes", run.data.num_classes}}},
                     {"global_batch", global_batch(run.config)},
                     {"steps_per_epoch", steps_per_epoch(run.config, run.data.train_samples)},
                     {"config", Json::parse(config_json(run.config))},
                     {"starts", starts}};
  write_file_atomically(path, dump(json), ErrorKind::usage);
}

std::string summary_json(const RunSummary& summary) {
  const RunState& state = summary.state;
  const auto& last = summary.final_validation;
  std::optional<ValidationResult> best = state.best;
  if (last && (!best || last->best_acc1() > best->best_acc1())) best = last;
  // The epoch in progress if it has begun, else the one that was finished last.
  Json loss = nullptr, acc1 = nullptr;
  if (state.epoch_sums.count > 0) {
    loss = state.epoch_sums.mean_loss();
    acc1 = state.epoch_sums.acc1();
  } else if (state.last) {
    loss = state.last->train_loss;
    acc1 = state.last->train_acc1;
  }
  Json json = {
      {"model", summary.model},
      {"data", summary.data},
      {"best_val_acc1", percent(best)},
      {"best_step", best ? Json(best->step) : Json(nullptr)},
      {"final_val_acc1", percent(last)},
      {"final_val_acc1_plus_minus", last ? Json(summary.plus_minus) : Json(nullptr)},
      {"paper_comparable", last ? Json(summary.not_paper_comparable.empty()) : Json(nullptr)},
      {"not_paper_comparable", summary.not_paper_comparable},
      {"final_val_acc5", last ? Json(last->acc5) : Json(nullptr)},
      {"final_val_loss", last ? Json(last->loss) : Json(nullptr)},
      {"val_samples", last ? Json(last->count) : Json(nullptr)},
      {"final_train_loss", loss},
      {"final_train_acc1", acc1},
      {"epochs", state.epoch},
      {"steps", state.step},
      {"train_img_per_s",
       state.train_seconds > 0 ? Json(static_cast<double>(state.train_images) / state.train_seconds) : Json(nullptr)},
      {"seconds", state.seconds},
      {"peak_memory_bytes", summary.peak_memory},
      {"bad_images", summary.bad_images},
      {"exit", summary.exit_code},
      {"reason", summary.reason}};
  if (best && best->average) json["best_val_ema_acc1"] = best->average->acc1;
  if (last && last->average) json["final_val_ema_acc1"] = last->average->acc1;
  if (!summary.message.empty()) json["message"] = summary.message;
  return dump(json);
}

void write_summary_json(const std::filesystem::path& run_dir, const RunSummary& summary) {
  try {
    write_file_atomically(run_dir / "summary.json", summary_json(summary), ErrorKind::checkpoint);
  } catch (const Error& error) {
    log_warning(error.what());
  }
}

std::string schedule_json(const TrainConfig& config, const Schedule& schedule) {
  const Json json = {{"name", *config.lr_scheduler},
                     {"lr", schedule.lr},
                     {"min_lr", schedule.min_lr},
                     {"total_steps", schedule.total_steps},
                     {"warmup_steps", schedule.warmup_steps},
                     {"step_size", schedule.step_size},
                     {"milestones", schedule.milestones},
                     {"gamma", schedule.gamma}};
  return json.dump();
}

bool is_concluded(const std::filesystem::path& run_dir, const RunState& state) {
  const Json summary = read_json(run_dir / "summary.json");
  if (!summary.is_object()) return false;
  const auto is = [&](const char* key, int64_t value) { return summary.contains(key) && summary.at(key) == value; };
  return is("exit", 0) && is("steps", state.step) && is("epochs", state.epoch);
}

}  // namespace engine
