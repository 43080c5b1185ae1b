#include "tests/train/run_command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "engine/train/run_log.h"

namespace engine::testing {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kNobody = 65534;
constexpr double kLongest = 240;  // seconds; a command that takes longer hangs

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

void redirect(const fs::path& path, int fd) {
  const int file = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0644);
  ::dup2(file, fd);
  ::close(file);
}

}  // namespace

Command::Command(const fs::path& folder, const std::vector<std::string>& arguments, const CommandOptions& options)
    : out_(folder / "stdout"), err_(folder / "stderr"), start_(now()) {
  std::vector<std::string> words = options.launcher;
  words.push_back(options.program);
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ != 0) return;
  redirect(out_, STDOUT_FILENO);
  redirect(err_, STDERR_FILENO);
  ::setenv("HOME", folder.c_str(), 1);
  ::setenv("XDG_CACHE_HOME", (folder / "cache").c_str(), 1);
  if (options.largest_file > 0) {
    const rlimit limit{static_cast<rlim_t>(options.largest_file), static_cast<rlim_t>(options.largest_file)};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  for (const auto& [resource, value] : options.limits) {
    const rlimit limit{static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
    ::setrlimit(static_cast<__rlimit_resource>(resource), &limit);
  }
  if (options.as_nobody && ::setuid(kNobody) != 0) ::_exit(126);
  for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
  if (::chdir(folder.c_str()) != 0) ::_exit(126);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

Command::~Command() {
  if (running()) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, &status_, 0);
  }
}

bool Command::running() {
  if (!ended_ && ::wait4(pid_, &status_, WNOHANG, &usage_) == pid_) ended_ = true;
  return !ended_;
}

void Command::signal(int number) const {
  ::kill(pid_, number);
}

CommandResult Command::wait() {
  while (running()) {
    if (now() - start_ > kLongest) {
      ADD_FAILURE() << "the command hangs; stderr:\n" << read_text(err_);
      ::kill(pid_, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return {.exit_code = WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_),
          .out = read_text(out_),
          .err = read_text(err_),
          .cpu_seconds = seconds(usage_.ru_utime) + seconds(usage_.ru_stime)};
}

bool Command::wait_for_line(const fs::path& run_dir, const std::string& event, int64_t step) {
  for (;;) {
    const bool alive = running();
    if (fs::exists(run_dir / "metrics.jsonl")) {
      for (const Json& line : metrics(run_dir)) {
        if (line.value("event", "") == event && line.value("step", int64_t{0}) >= step) return true;
      }
    }
    if (!alive) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

Workspace::Workspace() {
  std::string name = (fs::temp_directory_path() / "resnet-train-XXXXXX").string();
  if (!::mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
  path_ = name;
}

Workspace::~Workspace() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

CommandResult Workspace::run(const std::vector<std::string>& arguments, const CommandOptions& options) {
  return Command(path_, arguments, options).wait();
}

std::vector<std::string> Workspace::tiny(const std::string& run, const std::vector<std::string>& more) const {
  std::vector<std::string> arguments = {"--output-dir",   (path_ / run).string(),
                                        "--shapes-train", "96",
                                        "--shapes-val",   "20",
                                        "--batch-size",   "16",
                                        "--epochs",       "2",
                                        "--print-freq",   "1",
                                        "--threads",      "1",
                                        "--lr",           "0.02",
                                        "--deterministic"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

CommandResult Workspace::run_tiny(const std::string& name, const std::vector<std::string>& more) {
  return run(tiny(name, more));
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<char> read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

Json read_json(const fs::path& path) {
  return Json::parse(read_text(path));
}

std::vector<Json> metrics(const fs::path& run_dir) {
  std::vector<Json> lines;
  std::istringstream text(read_text(run_dir / "metrics.jsonl"));
  for (std::string line; std::getline(text, line);) {
    Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) continue;  // the line that is being written just now
    for (const char* key : kTimeKeys) json.erase(key);
    lines.push_back(json);
  }
  return lines;
}

void expect_same_result(const fs::path& run, const fs::path& expected) {
  for (const char* name : {"last/model.safetensors", "last/trainer.safetensors", "best/model.safetensors"}) {
    EXPECT_FALSE(read_bytes(expected / "checkpoints" / name).empty()) << name;
    EXPECT_EQ(read_bytes(run / "checkpoints" / name), read_bytes(expected / "checkpoints" / name))
        << name << " differs";
  }
  const fs::path average = fs::path("checkpoints") / "last" / "model_ema.safetensors";
  EXPECT_EQ(read_bytes(run / average), read_bytes(expected / average)) << "the average of the weights differs";
  EXPECT_EQ(metrics(run), metrics(expected));
  for (const char* key : {"best_val_acc1", "final_val_acc1", "final_val_loss", "final_train_loss", "epochs", "steps"}) {
    EXPECT_EQ(read_json(run / "summary.json").at(key), read_json(expected / "summary.json").at(key)) << key;
  }
}

}  // namespace engine::testing
