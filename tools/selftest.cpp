#include "tools/selftest.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "engine/error.h"
#include "engine/io/checkpoint.h"
#include "engine/io/file.h"
#include "engine/text.h"
#include "engine/train/log.h"
#include "engine/train/run_log.h"
#include "engine/train/run_state.h"

namespace engine::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int64_t kStepsPerEpoch = 3;
constexpr int64_t kSteps = 7;  // two ends of epochs, and an end in the middle of the third
constexpr int64_t kValidationPictures = 64;
constexpr uint64_t kMaxLogBytes = 64 << 20;
constexpr std::chrono::milliseconds kPoll{2};

std::string read_all(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored) ? read_text_file(path, {.kind = ErrorKind::usage, .max_bytes = kMaxLogBytes}) : "";
}

// The lines of metrics.jsonl without what tells of time.
std::vector<Json> metrics(const fs::path& run) {
  std::vector<Json> lines;
  std::istringstream text(read_all(run / "metrics.jsonl"));
  for (std::string line; std::getline(text, line);) {
    Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) continue;  // the line that is being written just now
    for (const char* key : kTimeKeys) json.erase(key);
    lines.push_back(std::move(json));
  }
  return lines;
}

int64_t last_step(const fs::path& run) {
  const std::vector<Json> lines = metrics(run);
  return lines.empty() ? 0 : lines.back().value("step", int64_t{0});
}

// A start of this program. What it says goes to <folder>/log.txt.
class Process {
 public:
  Process(const fs::path& folder, const std::vector<std::string>& arguments) : log_(folder / "log.txt") {
    std::vector<std::string> words = {"resnet-train"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log_.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0644);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    const int error = posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) fail(ErrorKind::internal, "--selftest: cannot start resnet-train again: ", std::strerror(error));
  }

  void expect_success() {
    const int code = wait();
    if (code == 0) return;
    const auto kind = code >= 1 && code <= 8 ? static_cast<ErrorKind>(code) : ErrorKind::internal;
    fail(kind, "--selftest: a run ended with exit code ", code, ": ", read_all(log_));
  }

  // SIGKILL as soon as a step after `step` is in the metrics. False if the run had ended by then.
  bool kill_after(int64_t step, const fs::path& run) {
    while (running()) {
      if (last_step(run) > step) {
        ::kill(pid_, SIGKILL);
        return wait() != 0;
      }
      std::this_thread::sleep_for(kPoll);
    }
    expect_success();
    return false;
  }

 private:
  bool running() {
    if (!ended_ && ::waitpid(pid_, &status_, WNOHANG) == pid_) ended_ = true;
    return !ended_;
  }
  int wait() {
    while (running()) std::this_thread::sleep_for(kPoll);
    return WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
  }

  fs::path log_;
  pid_t pid_ = 0;
  int status_ = 0;
  bool ended_ = false;
};

// One sentence for each file of tensors that is not the same.
void compare_tensors(const SafetensorsFile& a, const SafetensorsFile& b, const char* what,
                     std::vector<std::string>& differences) {
  size_t count = 0;
  std::string first;
  for (const TensorView& view : a.entries()) {
    const TensorView* other = b.find(view.name);
    if (other != nullptr && std::ranges::equal(view.data, other->data)) continue;
    if (count++ == 0) first = view.name;
  }
  if (count == 0 && a.entries().size() == b.entries().size()) return;
  differences.push_back(std::to_string(count) + " of " + std::to_string(a.entries().size()) + " tensors of the " +
                        what + (first.empty() ? "" : ", the first is " + first));
}

// Where a run stands, without what tells of time.
std::string position(const Checkpoint& checkpoint) {
  SavedState saved = parse_saved_state(checkpoint.state_json, checkpoint.directory.string());
  saved.state.seconds = saved.state.train_seconds = 0;
  saved.state.train_images = 0;
  return Json::parse(saved_state_json({.state = saved.state, .config = "{}", .schedule = "{}"})).dump();
}

}  // namespace

std::vector<std::string> compare_runs(const fs::path& a, const fs::path& b) {
  std::vector<std::string> found;
  const Checkpoint one = read_checkpoint(a / "checkpoints" / "last"), two = read_checkpoint(b / "checkpoints" / "last");
  compare_tensors(one.model, two.model, "network", found);
  compare_tensors(one.trainer, two.trainer, "optimiser", found);
  if (one.average && two.average) compare_tensors(*one.average, *two.average, "average of the weights", found);
  if (position(one) != position(two)) found.push_back("the position: " + position(one) + " and " + position(two));
  if (metrics(a) != metrics(b)) found.push_back("the lines of metrics.jsonl");
  return found;
}

int selftest_resume(TrainConfig config, int64_t global_batch, const fs::path& folder) {
  config.limit_train = kStepsPerEpoch * global_batch;
  config.limit_val = std::min(config.limit_val.value_or(kValidationPictures), kValidationPictures);
  config.recipe.clear();  // its settings are in the configuration
  config.compare_to.clear();
  config.budget.reset();
  config.print_freq = 1;
  config.max_steps.reset();
  config.checkpoint_steps.reset();
  config.checkpoint_minutes = 0;
  config.checkpoint_hist = 0;
  make_writable_directory(folder);
  write_file_atomically(folder / "config.json", config_json(config), ErrorKind::usage);
  const int64_t workers = *config.workers;
  const auto arguments = [&](const std::string& name, int64_t step, int64_t run_workers, const std::string& resume) {
    std::vector<std::string> words = {"--config",     (folder / "config.json").string(),
                                      "--output-dir", (folder / name).string(),
                                      "--max-steps",  std::to_string(step),
                                      "-j",           std::to_string(run_workers),
                                      "--color",      "never"};
    if (!resume.empty()) words.insert(words.end(), {"--resume", resume});
    return words;
  };
  const auto run = [&](const std::string& name, int64_t step, int64_t run_workers, const std::string& resume) {
    Process(folder, arguments(name, step, run_workers, resume)).expect_success();
  };

  // Both runs go on from one beginning, so that both use the algorithms that were measured there.
  log_info("selftest resume: the first step");
  run("begin", 1, workers, "");
  const std::string begin = (folder / "begin" / "checkpoints" / "last").string();
  log_info("selftest resume: " + std::to_string(kSteps) + " steps without interruption");
  run("whole", kSteps, workers, begin);
  log_info("selftest resume: the same, stopped in the middle of an epoch");
  run("parts", 2, 0, begin);
  log_info("selftest resume: stopped at the end of an epoch");
  run("parts", kStepsPerEpoch, workers + 1, "auto");
  log_info("selftest resume: killed in the next one");
  std::vector<std::string> words = arguments("parts", kSteps, workers, "auto");
  words.insert(words.end(), {"--checkpoint-steps", "1"});
  const bool killed = Process(folder, words).kill_after(kStepsPerEpoch + 1, folder / "parts");
  run("parts", kSteps, workers, "auto");

  const std::vector<std::string> found = compare_runs(folder / "whole", folder / "parts");
  if (!found.empty()) {
    for (const std::string& difference : found) log_warning("selftest resume: different: " + difference);
    log_warning("selftest resume: FAILED; both runs are in " + printable(folder.string()));
    return static_cast<int>(ErrorKind::internal);
  }
  fs::remove_all(folder);
  log_info(std::string("selftest resume: passed; weights, optimiser, position and metrics of ") +
           std::to_string(kSteps) + " steps are equal bit by bit after two stops and " +
           (killed ? "a kill -9" : "one kill that came too late"));
  return 0;
}

}  // namespace engine::tools
