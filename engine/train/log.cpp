#include "engine/train/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

namespace engine {
namespace {

bool is_set(const char* variable) {
  return variable && variable[0] != '\0';
}

struct Log {
  LogOptions options;
  int rank = 0;
  bool color = false;
  bool terminal = false;
  std::string status;
  std::mutex mutex;  // keeps the status line and the lines above it apart
  std::shared_ptr<spdlog::logger> logger;

  Log() { configure({}); }

  void configure(const LogOptions& chosen) {
    options = chosen;
    const char* term = std::getenv("TERM");
    const bool is_terminal = ::isatty(STDERR_FILENO) == 1;
    color = use_color({.mode = chosen.color,
                       .no_color = std::getenv("NO_COLOR"),
                       .clicolor_force = std::getenv("CLICOLOR_FORCE"),
                       .force_color = std::getenv("FORCE_COLOR"),
                       .term = term,
                       .terminal = is_terminal});
    terminal = is_terminal && chosen.format == LogFormat::text && term && std::string_view(term) != "dumb";
    if (chosen.format == LogFormat::jsonl) {
      logger = std::make_shared<spdlog::logger>("log", std::make_shared<spdlog::sinks::stdout_sink_mt>());
    } else {
      logger = std::make_shared<spdlog::logger>("log", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    }
    logger->set_pattern("%v");
    logger->flush_on(spdlog::level::trace);
    logger->set_error_handler([](const std::string&) {});  // a closed pipe is no reason to stop
  }

  void draw(std::string_view text) {
    status = text;
    const std::string line = "\r\033[K" + status;
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
  }

  void line(std::string_view text) {
    const std::string below = status;
    if (!below.empty()) draw("");
    logger->log(spdlog::level::info, spdlog::string_view_t(text.data(), text.size()));
    if (!below.empty()) draw(below);
  }
};

Log& instance() {
  static Log log;
  return log;
}

void message(const char* event, std::string_view prefix, std::string_view text) {
  Log& log = instance();
  const std::lock_guard lock(log.mutex);
  std::string with_rank;
  if (log.rank > 0) {
    if (prefix.empty()) return;
    with_rank = fmt::format("rank {}: {}", log.rank, text);
    text = with_rank;
  }
  if (log.options.format == LogFormat::jsonl) {
    const nlohmann::ordered_json json = {{"event", event}, {"message", text}, {"ts", unix_time()}};
    log.line(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    log.line(std::string(prefix) + std::string(text));
  }
}

}  // namespace

bool use_color(const ColorFacts& facts) {
  if (facts.mode != ColorMode::automatic) return facts.mode == ColorMode::always;
  if (is_set(facts.no_color)) return false;
  for (const char* force : {facts.clicolor_force, facts.force_color}) {
    if (is_set(force) && std::string_view(force) != "0") return true;
  }
  return facts.terminal && facts.term && std::string_view(facts.term) != "dumb";
}

double unix_time() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<double>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count()) / 1000;
}

void start_log(const LogOptions& options) {
  Log& log = instance();
  const std::lock_guard lock(log.mutex);
  log.configure(options);
}

void log_rank(int rank) {
  Log& log = instance();
  const std::lock_guard lock(log.mutex);
  log.rank = rank;
  if (rank > 0) log.terminal = false;
}

void log_info(std::string_view text) {
  message("message", "", text);
}

void log_warning(std::string_view text) {
  message("warning", styled(Style::yellow, "warning:") + " ", text);
}

void log_event(std::string_view json) {
  Log& log = instance();
  const std::lock_guard lock(log.mutex);
  if (log.options.format == LogFormat::jsonl && log.rank == 0) log.line(json);
}

void set_status_line(std::string_view text) {
  Log& log = instance();
  const std::lock_guard lock(log.mutex);
  if (log.terminal && text != log.status) log.draw(text);
}

bool has_status_line() {
  return instance().terminal;
}

int terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::string styled(Style style, std::string_view text) {
  if (!instance().color) return std::string(text);
  const char* code = "";
  switch (style) {
    case Style::bold:
      code = "1";
      break;
    case Style::dim:
      code = "2";
      break;
    case Style::green:
      code = "32";
      break;
    case Style::yellow:
      code = "33";
      break;
    case Style::red:
      code = "31";
      break;
  }
  return fmt::format("\033[{}m{}\033[0m", code, text);
}

}  // namespace engine
