#include "engine/cpu/threads.h"

#include <sched.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>
#include <string>
#include <utility>

#include "engine/error.h"

namespace engine {
namespace {

// Physical cores that this process may run on: a second thread on a core adds nothing to convolutions that already
// keep its multipliers busy. A control group's quota counts too.
int usable_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return std::max(1, omp_get_num_procs());
  std::set<std::pair<int, int>> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    int package = -1, core = cpu;
    std::ifstream(topology + "physical_package_id") >> package;
    if (!(std::ifstream(topology + "core_id") >> core)) core = cpu;
    cores.insert({package, core});
  }
  int count = static_cast<int>(cores.size());
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (quota_file >> quota >> period && quota != "max" && period > 0)
    count = std::min(count, static_cast<int>(std::ceil(std::strtod(quota.c_str(), nullptr) / period)));
  return std::max(count, 1);
}

std::atomic<int>& thread_count() {
  static std::atomic<int> count = std::getenv("OMP_NUM_THREADS") ? omp_get_max_threads() : usable_cores();
  return count;
}

}  // namespace

int num_threads() {
  return thread_count().load(std::memory_order_relaxed);
}

void set_num_threads(int count) {
  check(count >= 1 && count <= 4096, "set_num_threads: count=", count, ", expected 1 to 4096");
  thread_count() = count;
}

namespace cpu {

void use_threads() {
  thread_local int current = 0;
  const int wanted = num_threads();
  if (current == wanted) return;
  // With OMP_DYNAMIC=true the team may be smaller than a primitive was made for, and oneDNN then waits for ever.
  omp_set_dynamic(0);
  omp_set_num_threads(wanted);
  current = wanted;
}

}  // namespace cpu
}  // namespace engine
