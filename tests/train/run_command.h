#pragma once
// Running a command as a user does: a process of its own, with what it wrote and how long it took.
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace engine::testing {

using Json = nlohmann::json;

struct CommandResult {
  int exit_code = 0;  // 128 + signal if a signal ended it
  std::string out, err;
  double cpu_seconds = 0;  // of the processor, so that a busy machine does not count
};

struct CommandOptions {
  std::map<std::string, std::string> environment;
  int64_t largest_file = 0;                // bytes that it may write to one file; 0: any
  std::vector<std::string> launcher = {};  // a command that starts it, such as mpirun -n 2
  std::map<int, int64_t> limits = {};      // RLIMIT_AS, RLIMIT_NOFILE, ...
  bool as_nobody = false;                  // gives up the rights of root
  std::string program = RESNET_TRAIN;
};

// A started program. Output goes to files in `folder`.
class Command {
 public:
  Command(const std::filesystem::path& folder, const std::vector<std::string>& arguments,
          const CommandOptions& options = {});
  ~Command();  // kills it if it still runs
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  void signal(int number) const;
  CommandResult wait();
  // Waits until metrics.jsonl of `run_dir` has a line of that event with this step or a later one. False if the process
  // ended first.
  bool wait_for_line(const std::filesystem::path& run_dir, const std::string& event, int64_t step);

 private:
  bool running();

  std::filesystem::path out_, err_;
  int pid_ = 0;
  int status_ = 0;
  rusage usage_{};
  bool ended_ = false;
  double start_ = 0;
};

// A temporary folder for one test, removed after it. HOME and the caches of the commands lie in it.
class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

  CommandResult run(const std::vector<std::string>& arguments, const CommandOptions& options = {});
  // A tiny run on the built-in pictures: one thread, 96 training pictures, 6 steps an epoch.
  std::vector<std::string> tiny(const std::string& run, const std::vector<std::string>& more = {}) const;
  CommandResult run_tiny(const std::string& run, const std::vector<std::string>& more = {});

 private:
  std::filesystem::path path_;
};

std::string read_text(const std::filesystem::path& path);
std::vector<char> read_bytes(const std::filesystem::path& path);
void write_text(const std::filesystem::path& path, const std::string& text);
Json read_json(const std::filesystem::path& path);

// The lines of metrics.jsonl without what tells of time.
std::vector<Json> metrics(const std::filesystem::path& run_dir);

// Fails unless two runs came to the same bits: weights, momentum, metrics and the result in summary.json.
void expect_same_result(const std::filesystem::path& run, const std::filesystem::path& expected);

}  // namespace engine::testing
