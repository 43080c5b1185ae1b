#pragma once
// metrics.jsonl: one JSON object a line, written when it happens.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "engine/io/append_file.h"

namespace engine {

class MetricsLog {
 public:
  // Without `resume_step` the file starts empty. With it, the file is continued: a last line without its end is cut
  // off, and lines whose "step" is greater than `resume_step` are removed, since those steps will run again. Lines
  // without "step" stay. So whatever belongs to step N must be appended and synced before the checkpoint of step N is
  // written. A file that cannot be written goes to `on_failure` once and never ends the training.
  MetricsLog(const std::filesystem::path& path, std::optional<std::int64_t> resume_step, LogFailure on_failure = {},
             FileOps& ops = FileOps::real());

  // `json` is one object without a line end; Error(internal) if it holds one.
  void append(std::string_view json);
  // What was appended survives a power loss from now on.
  void sync() { file_.sync(); }

 private:
  AppendFile file_;
};

}  // namespace engine
