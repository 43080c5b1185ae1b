#include "bench/nvml.h"

#include <array>

#include "kernels/cuda/shared_library.h"

namespace engine::bench {
namespace {

// Of nvml.h, which is not needed to build: numbers and signatures are part of the library's ABI.
constexpr int kSuccess = 0;
constexpr unsigned kClockOfMultiprocessors = 1;
constexpr unsigned kTemperatureOfGpu = 0;

}  // namespace

struct Nvml::Functions {
  kernels::cuda::SharedLibrary library{"ENGINE_NVML", {"libnvidia-ml.so.1"}};
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  int (*device_by_uuid)(const char*, void**) = nullptr;
  int (*clock)(void*, unsigned, unsigned*) = nullptr;
  int (*power)(void*, unsigned*) = nullptr;  // mW
  int (*temperature)(void*, unsigned, unsigned*) = nullptr;
  int (*clock_reasons)(void*, unsigned long long*) = nullptr;
  int (*driver_version)(char*, unsigned) = nullptr;

  bool load() {
    return library.find("nvmlInit_v2", init) && library.find("nvmlShutdown", shutdown) &&
           library.find("nvmlDeviceGetHandleByUUID", device_by_uuid) && library.find("nvmlDeviceGetClockInfo", clock) &&
           library.find("nvmlDeviceGetPowerUsage", power) && library.find("nvmlDeviceGetTemperature", temperature) &&
           library.find("nvmlDeviceGetCurrentClocksThrottleReasons", clock_reasons) &&
           library.find("nvmlSystemGetDriverVersion", driver_version) && init() == kSuccess;
  }
};

std::unique_ptr<Nvml> Nvml::open(const std::string& uuid) {
  auto functions = std::make_unique<Functions>();
  if (!functions->load()) return nullptr;
  void* device = nullptr;
  const std::string name = uuid.starts_with("GPU-") ? uuid : "GPU-" + uuid;
  if (functions->device_by_uuid(name.c_str(), &device) != kSuccess) {
    (void)functions->shutdown();
    return nullptr;
  }
  return std::unique_ptr<Nvml>(new Nvml(std::move(functions), device));
}

Nvml::Nvml(std::unique_ptr<Functions> functions, void* device) : functions_(std::move(functions)), device_(device) {}

Nvml::~Nvml() {
  (void)functions_->shutdown();
}

GpuState Nvml::state() const {
  GpuState state;
  unsigned value = 0;
  if (functions_->clock(device_, kClockOfMultiprocessors, &value) == kSuccess) state.mhz = value;
  if (functions_->power(device_, &value) == kSuccess) state.watts = value * 1e-3;
  if (functions_->temperature(device_, kTemperatureOfGpu, &value) == kSuccess) state.celsius = value;
  unsigned long long reasons = 0;
  if (functions_->clock_reasons(device_, &reasons) == kSuccess) state.clock_reasons = reasons;
  return state;
}

std::string Nvml::driver_version() const {
  std::array<char, 80> text{};
  return functions_->driver_version(text.data(), text.size()) == kSuccess ? text.data() : "";
}

}  // namespace engine::bench
