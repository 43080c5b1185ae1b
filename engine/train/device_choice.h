#pragma once
#include <string>

#include "engine/device.h"
#include "engine/train/config.h"

namespace engine {

struct DeviceChoice {
  Device device;
  std::string gpu_absence;  // why `auto` took no GPU; empty if it did, or was not asked
};

// The device that --device names; of several ranks on a host, `local_rank` takes the GPU of its number, or the one that
// it is shown. Throws Error(device) with the reason if it is not available.
DeviceChoice choose_device(const std::string& name, int local_rank = 0);

// One line on hardware, instruction set, threads and libraries.
std::string device_description(Device device);

// Throws Error(device) if the device would be slower in the precision that the configuration asks for.
void check_precision(const TrainConfig& config, Device device);

// Threads, determinism and forced implementations of a resolved configuration. Throws Error(usage or device) for an
// implementation that the device does not have.
void set_up_device(Device device, const TrainConfig& config);

}  // namespace engine
