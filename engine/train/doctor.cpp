#include "engine/train/doctor.h"

#include <fmt/format.h>

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <thread>
#include <vector>

#include "engine/backend.h"
#include "engine/device.h"
#include "engine/dist/communicator.h"
#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/train/device_choice.h"
#include "engine/train/version.h"

namespace engine {
namespace {

namespace fs = std::filesystem;

struct Report {
  std::string text;
  std::vector<std::string> remedies;

  void line(std::string_view name, std::string_view value) { text += fmt::format("{:<12} {}\n", name, value); }
  void problem(std::string_view name, std::string_view value, std::string remedy) {
    line(name, fmt::format("{}  (!)", value));
    remedies.push_back(std::move(remedy));
  }
};

// Of /proc/meminfo or a cgroup file, in bytes; 0 if it cannot be read.
uint64_t available_memory(const std::string& root) {
  uint64_t available = 0;
  std::ifstream file(root + "/proc/meminfo");
  for (std::string name, unit; file >> name;) {
    uint64_t kilobytes = 0;
    if (!(file >> kilobytes)) break;
    std::getline(file, unit);
    if (name == "MemAvailable:") available = kilobytes * 1024;
  }
  uint64_t limit = 0, used = 0;
  if (std::ifstream(root + "/sys/fs/cgroup/memory.max") >> limit &&
      std::ifstream(root + "/sys/fs/cgroup/memory.current") >> used && limit > used) {
    available = std::min(available, limit - used);
  }
  return available;
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return static_cast<int>(std::thread::hardware_concurrency());
  return CPU_COUNT(&set);
}

void check_device(Report& report, const std::string& root) {
  const std::string cpu = device_description({});
  report.line("cpu", cpu);
  const bool bf16 = cpu.find("with bf16") != std::string::npos;
  report.line("bf16", bf16 ? "native: --precision bf16 is faster than fp32"
                           : "not native: --precision bf16 is refused here, fp32 is used");
  const int cores = usable_cores();
  const std::string threads = fmt::format("{} for {} usable core{}", num_threads(), cores, cores == 1 ? "" : "s");
  if (num_threads() > cores) {
    report.problem("threads", threads,
                   fmt::format("more threads than cores are slow: --threads {}, or unset OMP_NUM_THREADS", cores));
  } else {
    report.line("threads", threads);
  }
  // Without a GPU in the machine nothing of this is missed.
  const bool driver = fs::exists(root + "/proc/driver/nvidia/version");
  for (const DeviceFact& fact : describe_cuda()) {
    if (fact.reason.empty())
      report.line(fact.name, fact.text);
    else if (driver && fact.name != "emulated")
      report.problem(fact.name, "not used", fact.name + ": " + fact.reason);
    else
      report.line(fact.name, "not used: " + fact.reason);
  }
  report.line("mpi", describe_mpi());
}

void check_cache(Report& report) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path base = cache && *cache ? fs::path(cache) : home && *home ? fs::path(home) / ".cache" : fs::path();
  if (base.empty()) {
    report.problem("cache", "none", "without HOME algorithms are measured at each start: set HOME or XDG_CACHE_HOME");
    return;
  }
  const fs::path folder = base / "libengine";
  try {
    make_writable_directory(folder);
    report.line("cache", folder.string());
  } catch (const Error& error) {
    report.problem("cache", folder.string() + " cannot be written to",
                   std::string("algorithms are measured at each start: set XDG_CACHE_HOME to a folder of yours (") +
                       error.what() + ")");
  }
}

void check_resources(Report& report, const std::string& root) {
  constexpr uint64_t kLittleMemory = uint64_t{2} << 30, kLittleDisk = uint64_t{1} << 30;
  const uint64_t memory = available_memory(root);
  const std::string text = human_bytes(memory) + " available";
  if (memory < kLittleMemory) {
    report.problem("memory", text,
                   "resnet50 at batch 32 takes about 7 GB, resnet20 0.5 GB: use a smaller --batch-size");
  } else {
    report.line("memory", text);
  }
  std::error_code error;
  const fs::space_info space = fs::space(".", error);
  const std::string disk = error ? "unknown" : human_bytes(space.available) + " free here";
  if (!error && space.available < kLittleDisk) {
    report.problem("disk", disk, "checkpoints of resnet50 take 0.2 GB each: choose another --output-dir");
  } else {
    report.line("disk", disk);
  }
  if (::access(".", W_OK) != 0) {
    report.problem("folder", "the working directory cannot be written to",
                   "runs/ goes there by default: give --output-dir");
  }
}

}  // namespace

Diagnosis diagnose(const std::string& root) {
  Report report;
  const std::string engine = fmt::format("{} ({})", version(), build_description());
  if (build_description().find("Rel") == std::string::npos) {
    report.problem("engine", engine, "this build is not optimised: configure with -DCMAKE_BUILD_TYPE=Release");
  } else {
    report.line("engine", engine);
  }
  check_device(report, root);
  check_cache(report);
  check_resources(report, root);
  for (const std::string& remedy : report.remedies) report.text += "(!) " + remedy + "\n";
  if (report.remedies.empty()) report.text += "no problems found\n";
  return {report.text, static_cast<int>(report.remedies.size())};
}

}  // namespace engine
