#include "engine/io/metrics_log.h"

#include <nlohmann/json.hpp>

#include <fcntl.h>

namespace engine {
namespace {

// Whether a complete line of an interrupted run is kept when it continues after `resume_step`. A line that is no JSON
// object was damaged by a crash.
bool is_kept(std::string_view line, std::int64_t resume_step) {
  const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return false;
  const auto step = json.find("step");
  return step == json.end() || !step->is_number() || step->get<double>() <= static_cast<double>(resume_step);
}

// Leaves in the file what the run will continue from.
void prepare(const std::filesystem::path& path, std::optional<std::int64_t> resume_step, FileOps& ops) {
  PathKind kind;
  if (ops.kind(path, kind) != 0 || kind != PathKind::file) return;
  const std::string old_text = read_text_file(path, {.kind = ErrorKind::usage}, ops);
  std::string text;
  if (resume_step) {
    std::size_t begin = 0;
    for (std::size_t end; (end = old_text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const std::string_view line(old_text.data() + begin, end - begin);
      if (is_kept(line, *resume_step)) text.append(line).append("\n");
    }
  }
  if (text != old_text) write_file_atomically(path, std::string_view(text), ErrorKind::usage, ops);
}

AppendFile open_prepared(const std::filesystem::path& path, std::optional<std::int64_t> resume_step,
                         LogFailure on_failure, FileOps& ops) {
  try {
    prepare(path, resume_step, ops);
  } catch (const Error& error) {
    if (on_failure) on_failure(error.what());
    on_failure = {};
  }
  return AppendFile(path, std::move(on_failure), ops);
}

}  // namespace

MetricsLog::MetricsLog(const std::filesystem::path& path, std::optional<std::int64_t> resume_step,
                       LogFailure on_failure, FileOps& ops)
    : file_(open_prepared(path, resume_step, std::move(on_failure), ops)) {}

void MetricsLog::append(std::string_view json) {
  if (json.find('\n') != std::string_view::npos)
    fail(ErrorKind::internal, "metrics log: an event of ", json.size(), " bytes holds a line end; dump it on one line");
  std::string line(json);
  line += '\n';
  file_.append(std::as_bytes(std::span(line)));
}

}  // namespace engine
