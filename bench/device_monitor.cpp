#include "bench/device_monitor.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <numeric>

#include "bench/process_usage.h"
#include "engine/cuda/load.h"

namespace engine::bench {
namespace {

namespace fs = std::filesystem;

constexpr double kSampleEvery = 0.2;  // seconds; reading a GPU's state takes up to some milliseconds

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The number in each file DIR/<begins with prefix>*/NAME that there is.
std::vector<double> numbers(const fs::path& directory, const std::string& prefix, const std::string& name) {
  std::vector<double> found;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    double value = 0;
    if (entry->path().filename().string().starts_with(prefix) && std::ifstream(entry->path() / name) >> value)
      found.push_back(value);
  }
  return found;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::unique_ptr<Nvml> open_nvml(Device device) {
  if (device.type != DeviceType::cuda) return nullptr;
  std::string reason;
  const kernels::Module* module = cuda::load_module(&reason);
  kernels::DeviceProperties properties;
  if (module == nullptr || !module->runtime->device_properties(device.index, &properties).ok()) return nullptr;
  return Nvml::open(properties.uuid);
}

}  // namespace

ProcessorTime processor_time(const fs::path& proc) {
  std::ifstream file(proc / "stat");
  std::string name;
  double user = 0, nice = 0, system = 0, idle = 0, waiting = 0, interrupts = 0, soft_interrupts = 0, stolen = 0;
  if (!(file >> name >> user >> nice >> system >> idle >> waiting >> interrupts >> soft_interrupts >> stolen))
    return {};
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const double busy = user + nice + system + interrupts + soft_interrupts;
  return {busy / ticks, stolen / ticks, (busy + idle + waiting + stolen) / ticks};
}

ProcessorState processor_state(const fs::path& sys) {
  ProcessorState state;
  const fs::path cpus = sys / "devices/system/cpu";
  if (const auto khz = numbers(cpus, "cpu", "cpufreq/scaling_cur_freq"); !khz.empty()) state.mhz = mean(khz) * 1e-3;
  if (const auto milli = numbers(sys / "class/thermal", "thermal_zone", "temp"); !milli.empty())
    state.celsius = *std::max_element(milli.begin(), milli.end()) * 1e-3;
  const auto cores = numbers(cpus, "cpu", "thermal_throttle/core_throttle_count");
  const auto packages = numbers(cpus, "cpu", "thermal_throttle/package_throttle_count");
  if (!cores.empty() || !packages.empty()) {
    state.thermal = static_cast<int64_t>(std::accumulate(cores.begin(), cores.end(), 0.0) +
                                         std::accumulate(packages.begin(), packages.end(), 0.0));
  }
  return state;
}

DeviceMonitor::DeviceMonitor(Device device) : device_(device), nvml_(open_nvml(device)) {}

void DeviceMonitor::begin() {
  clocks_ = {};
  watts_.clear();
  celsius_.clear();
  last_sample_ = 0;
  thermal_ = processor_state().thermal;
  machine_ = processor_time();
  own_cpu_ = process_usage().cpu_seconds;
  sample();
}

void DeviceMonitor::sample() {
  if (now() < last_sample_ + kSampleEvery) return;
  const auto keep = [](std::vector<double>& series, std::optional<double> value) {
    if (value) series.push_back(*value);
  };
  if (nvml_) {
    const GpuState state = nvml_->state();
    keep(clocks_.mhz, state.mhz);
    keep(watts_, state.watts);
    keep(celsius_, state.celsius);
    clocks_.reasons |= state.clock_reasons;
  } else if (device_.type != DeviceType::cuda) {
    const ProcessorState state = processor_state();
    keep(clocks_.mhz, state.mhz);
    keep(celsius_, state.celsius);
  }
  last_sample_ = now();
}

void DeviceMonitor::end() {
  const ProcessorTime after = processor_time();
  const double own = process_usage().cpu_seconds - own_cpu_;
  const double all = after.all - machine_.all;
  // The system counts in hundredths of a second: the difference may be a little below 0.
  other_cpu_ = all > 0 ? std::max(0.0, after.busy - machine_.busy - own) / all : 0;
  stolen_cpu_ = all > 0 ? (after.stolen - machine_.stolen) / all : 0;
  const std::optional<int64_t> thermal = processor_state().thermal;
  const bool counted = device_.type != DeviceType::cuda && thermal && thermal_;
  if (counted) clocks_.thermal_events = *thermal - *thermal_;
  clocks_.watched = counted || !clocks_.mhz.empty();
}

std::optional<double> DeviceMonitor::watts() const {
  return watts_.empty() ? std::nullopt : std::optional(mean(watts_));
}

std::optional<double> DeviceMonitor::celsius() const {
  return celsius_.empty() ? std::nullopt : std::optional(*std::max_element(celsius_.begin(), celsius_.end()));
}

std::optional<std::string> DeviceMonitor::driver_version() const {
  const std::string version = nvml_ ? nvml_->driver_version() : "";
  return version.empty() ? std::nullopt : std::optional(version);
}

}  // namespace engine::bench
