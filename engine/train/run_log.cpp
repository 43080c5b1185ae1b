#include "engine/train/run_log.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/train/accuracy.h"
#include "engine/train/log.h"

namespace engine {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr std::chrono::milliseconds kRedraw{100};
constexpr std::chrono::seconds kSlowLine{30};  // without a terminal a slow run says where it is this often

void warn(const std::string& message) {
  log_warning(message);
}

// The step of the last validation in a metrics file.
std::optional<int64_t> find_last_validation(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  std::optional<int64_t> step;
  std::istringstream lines(read_text_file(path, {.kind = ErrorKind::usage}));
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_object() && json.value("event", "") == "val") step = json.value("step", int64_t{0});
  }
  return step;
}

}  // namespace

std::string average_text(const ValidationResult& result) {
  return result.average ? fmt::format("  ema {:.2f}", result.average->acc1) : "";
}

RunLog::RunLog(const RunLogOptions& options)
    : options_(options),
      metrics_(options.run_dir / "metrics.jsonl", options.resume_step, warn),
      events_(options.run_dir / "tb",
              {.first_step = options.resume_step ? *options.resume_step + 1 : 0, .on_failure = warn}) {
  if (options.resume_step) last_logged_validation_ = find_last_validation(options.run_dir / "metrics.jsonl");
}

void RunLog::append(const std::string& json) {
  metrics_.append(json);
  log_event(json);
}

void RunLog::step(const Progress& progress) {
  const auto now = Clock::now();
  if (has_status_line()) {
    if (now - last_draw_ < kRedraw) return;
    last_draw_ = now;
    set_status_line(progress_bar(progress, terminal_width()));
  } else if (now - last_line_ > kSlowLine) {
    last_line_ = now;
    log_info(progress_line(progress));
  }
}

void RunLog::train(const Progress& p, const IntervalTimes& times) {
  const auto share = [&](double part) { return part / times.seconds; };
  const double data_wait = share(times.times.data);
  const Json json = {{"event", "train"},
                     {"step", p.step},
                     {"epoch", p.epoch},
                     {"loss", p.loss},
                     {"acc1", p.acc1},
                     {"grad_norm", p.grad_norm},
                     {"loss_z", p.loss_z},
                     {"grad_norm_z", p.norm_z},
                     {"lr", p.lr},
                     {"img_per_s", static_cast<double>(times.images) / times.seconds},
                     {"data_wait", data_wait},
                     {"bound", bound_by(times.times)},
                     {"time",
                      {{"data", data_wait},
                       {"copy", share(times.times.copy)},
                       {"device", share(times.times.device)},
                       {"comm", share(times.times.comm)},
                       {"host", share(times.times.host)}}},
                     {"ts", unix_time()}};
  append(json.dump());
  events_.scalar("train/loss", p.step, p.loss);
  events_.scalar("train/acc1", p.step, p.acc1);
  events_.scalar("train/grad_norm", p.step, p.grad_norm);
  events_.scalar("train/grad_norm_z", p.step, p.norm_z);
  events_.scalar("train/loss_z", p.step, p.loss_z);
  events_.scalar("lr", p.step, p.lr);
  events_.scalar("perf/img_per_s", p.step, static_cast<double>(times.images) / times.seconds);
  events_.scalar("perf/data_wait", p.step, data_wait);
  events_.flush();
  if (!has_status_line()) log_info(progress_line(p));
  last_line_ = Clock::now();
}

void RunLog::validating(int64_t done, int64_t total) {
  const auto now = Clock::now();
  if (now - last_draw_ < kRedraw) return;
  last_draw_ = now;
  set_status_line(count_bar("validating", done, total, terminal_width()));
}

void RunLog::validation(const ValidationResult& result, const Progress& p, double seconds, bool is_best) {
  set_status_line("");
  if (last_logged_validation_ != result.step) {
    Json json = {{"event", "val"},
                 {"step", result.step},
                 {"epoch", result.epoch},
                 {"loss", result.loss},
                 {"acc1", result.acc1},
                 {"acc5", result.acc5},
                 {"count", result.count},
                 {"train_loss", result.train_loss},
                 {"train_acc1", result.train_acc1}};
    if (result.average) {
      json["ema_loss"] = result.average->loss;
      json["ema_acc1"] = result.average->acc1;
      json["ema_acc5"] = result.average->acc5;
    }
    json["seconds"] = seconds;
    json["ts"] = unix_time();
    append(json.dump());
    last_logged_validation_ = result.step;
  }
  events_.scalar("val/loss", result.step, result.loss);
  events_.scalar("val/acc1", result.step, result.acc1);
  events_.scalar("val/acc5", result.step, result.acc5);
  if (result.average) {
    events_.scalar("val_ema/loss", result.step, result.average->loss);
    events_.scalar("val_ema/acc1", result.step, result.average->acc1);
    events_.scalar("val_ema/acc5", result.step, result.average->acc5);
  }
  events_.flush();
  log_info(
      fmt::format("{}  val acc1 {}{}  acc5 {:.2f}  loss {:.4f}  train loss {:.4f}  acc1 {:.2f}  ({} pictures in {:.1f} "
                  "s)  peak {}  "
                  "ETA {}{}",
                  styled(Style::bold, fmt::format("epoch {}/{}", result.epoch, p.epochs)),
                  styled(Style::bold, fmt::format("{:.2f}", result.acc1)) +
                      fmt::format(" ± {:.2f}", wilson_half_width(result.acc1, result.count)),
                  average_text(result), result.acc5, result.loss, result.train_loss, result.train_acc1,
                  with_thousands(result.count), seconds, human_bytes(p.peak_memory), duration_text(p.seconds_left),
                  is_best ? styled(Style::green, "  best") : ""));
  last_line_ = Clock::now();
}

}  // namespace engine
