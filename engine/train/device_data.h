#pragma once
// A small training set kept on the device: a batch then costs its indices, crops and flips instead of its pixels.
#include <functional>
#include <optional>

#include "engine/data/dataset.h"
#include "engine/data/loader.h"
#include "engine/tensor.h"
#include "engine/train/config.h"

namespace engine {

struct DeviceData {
  Tensor pictures;  // [samples,H,W,3] u8
  PlaceSample place;
};

// What --data-on-device asks for; without a value nothing is to be kept. `auto` keeps it on GPUs (and the emulated one)
// if only crops and flips of pictures of one size are wanted that take no more than a quarter of the free memory. The
// bits that a network sees are those of the way through the host. Reads every picture; throws what that throws unless
// bad pictures are skipped, and Error(usage) with the reason if `on` is not possible.
std::optional<DeviceData> keep_on_device(const TrainConfig& resolved, const Dataset& train, Device device);

}  // namespace engine
