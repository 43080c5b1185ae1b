#include "tools/run_folder.h"

#include <algorithm>
#include <cctype>
#include <ctime>
#include <functional>
#include <system_error>
#include <vector>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/text.h"
#include "engine/train/checkpointer.h"
#include "engine/train/failed_batch.h"
#include "engine/train/log.h"
#include "engine/train/progress.h"
#include "engine/train/resume.h"

namespace engine::tools {

namespace fs = std::filesystem;

std::optional<fs::path> named_run_dir(const TrainConfig& config) {
  if (!config.output_dir.empty()) return config.output_dir;
  if (!config.name.empty()) return fs::path("runs") / config.name;
  if (config.resume.empty()) return std::nullopt;
  check(config.resume != "auto", "--resume auto looks in the folder of the run: add --output-dir DIR or --name NAME");
  const fs::path run = run_dir_of(config.resume);
  return run.empty() ? std::nullopt : std::optional(run);
}

fs::path automatic_run_dir(const std::string& model, const std::string& data) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &local);
  std::string name = model + "-" + data + "-" + text;
  const auto is_plain = [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '_' || c == '-'; };
  std::replace_if(name.begin(), name.end(), std::not_fn(is_plain), '_');
  return fs::path("runs") / name;
}

RunFolder::RunFolder(const fs::path& path) : path_(path) {
  make_writable_directory(path);
  lock_ = std::make_unique<RunLock>(path);
}

bool RunFolder::holds_run() const {
  std::error_code ignored;
  return fs::exists(path_ / "checkpoints", ignored) && !fs::is_empty(path_ / "checkpoints", ignored);
}

void RunFolder::clear() const {
  const auto remove = [](const fs::path& path) {
    std::error_code error;
    fs::remove_all(path, error);
    check(!error, "a new run: cannot remove what an earlier one left, ", printable(path.string()), ": ",
          error.message(), "; remove it by hand, or choose another --output-dir");
  };
  for (const char* name : {"checkpoints", "tb", "metrics.jsonl", "summary.json", "report.html", "run.json"}) {
    remove(path_ / name);
  }
  std::vector<fs::path> failed;  // one of each rank
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, ignored)) {
    if (entry.path().filename().string().starts_with(kFailedBatchPrefix)) failed.push_back(entry.path());
  }
  for (const fs::path& path : failed) remove(path);
}

void check_disk(const fs::path& run_dir, Module& net, const TrainConfig& config) {
  std::error_code error;
  const fs::space_info space = fs::space(run_dir, error);
  if (error) return;
  const uint64_t one = estimate_checkpoint_bytes(net, config);
  const auto kept = static_cast<uint64_t>(config.min_free);
  check(kept == 0 || space.available >= one + kept, "--min-free: ", human_bytes(space.available), " are free for ",
        printable(run_dir.string()), ", a checkpoint takes ", human_bytes(one), " and ", human_bytes(kept),
        " have to stay free; free some space or choose another --output-dir");
  const uint64_t needed = 3 * one;  // last, best, and the one being written
  if (space.available < needed + kept) {
    log_warning("only " + human_bytes(space.available) + " are free for " + printable(run_dir.string()) +
                ", checkpoints need up to " + human_bytes(needed));
  }
}

}  // namespace engine::tools
