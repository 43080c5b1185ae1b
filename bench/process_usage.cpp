#include "bench/process_usage.h"

#include <sys/resource.h>

#include <fstream>
#include <string>

namespace engine::bench {
namespace {

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

}  // namespace

ProcessUsage process_usage() {
  ProcessUsage usage;
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    if (key == "VmHWM:" || key == "VmRSS:") {
      int64_t kib = 0;
      status >> kib;
      (key == "VmHWM:" ? usage.peak_resident_bytes : usage.resident_bytes) = kib * 1024;
    }
  }
  rusage counts{};
  getrusage(RUSAGE_SELF, &counts);
  usage.minor_faults = counts.ru_minflt;
  usage.major_faults = counts.ru_majflt;
  usage.cpu_seconds = seconds(counts.ru_utime) + seconds(counts.ru_stime);
  return usage;
}

}  // namespace engine::bench
