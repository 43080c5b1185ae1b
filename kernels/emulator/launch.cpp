#include "kernels/emulator/launch.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "kernels/emulator/arena.h"
#include "kernels/emulator/pool.h"
#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/stream.h"
#include "kernels/emulator/worker.h"

namespace engine::kernels::emulator {
namespace {

// One launch at a time, also from several host threads.
std::mutex launch_mutex;
Statistics total;

// The limits of sm_90.
const char* refusal(const gpu::LaunchConfig& config) {
  const auto count = [](const dim3& d) { return static_cast<uint64_t>(d.x) * d.y * d.z; };
  if (count(config.block) == 0 || count(config.block) > kMaxThreads || config.block.z > 64)
    return "invalid configuration: a block has 1 to 1024 threads";
  if (count(config.grid) == 0 || config.grid.x > 0x7fffffffu || config.grid.y > 65535 || config.grid.z > 65535)
    return "invalid configuration: a grid has 1 to 2^31-1 blocks in x, 1 to 65535 in y and z";
  if (config.shared_bytes > kMaxSharedBytes) return "invalid value: a block has at most 232448 bytes of shared memory";
  return nullptr;
}

int num_workers(uint64_t blocks) {
  if (race::kEnabled) return 1;
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int wanted = settings().workers > 0 ? settings().workers : cores;
  return static_cast<int>(std::min<uint64_t>(static_cast<uint64_t>(wanted), std::max<uint64_t>(1, blocks / 2)));
}

bool run_grid(const gpu::LaunchConfig& config, const std::function<void()>& body) {
  const std::lock_guard lock(launch_mutex);
  static Pool pool;
  const Job job{config.grid, config.block, config.shared_bytes, &body};
  const uint64_t blocks = static_cast<uint64_t>(config.grid.x) * config.grid.y * config.grid.z;
  if constexpr (race::kEnabled) race::begin_launch();
  ++total.launches;

  std::atomic<uint64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex total_mutex;
  const std::function<void()> work = [&] {
    Worker& worker = Worker::here();
    worker.statistics = {};
    const bool reverse = settings().schedule == Schedule::reverse;
    for (uint64_t i; !failed && (i = next++) < blocks;)
      if (!worker.run(job, reverse ? blocks - 1 - i : i)) failed = true;
    const std::lock_guard total_lock(total_mutex);
    total += worker.statistics;
  };
  pool.run(num_workers(blocks) - 1, work);
  return !failed;
}

}  // namespace

Statistics statistics() {
  const std::lock_guard lock(launch_mutex);
  return total;
}

void reset_statistics() {
  const std::lock_guard lock(launch_mutex);
  total = {};
}

void check_argument(int number, const void* address, Site site) {
  if (address != nullptr && !is_device_address(address))
    report(Check::bounds, site, "argument %d of a kernel is an address that is no memory of the device", number);
}

bool launch(const gpu::LaunchConfig& config, std::function<void()> body) {
  if (const char* text = refusal(config)) {
    set_last_error({Problem::other, 9, text});
    return false;
  }
  return enqueue(
             config.stream,
             [config, body = std::move(body)] {
               if (run_grid(config, body)) return Status{};
               return Status{Problem::other, 719, "a kernel could not run to its end; the emulator's report says why"};
             },
             1)
      .ok();
}

}  // namespace engine::kernels::emulator
