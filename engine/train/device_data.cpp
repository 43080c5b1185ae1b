#include "engine/train/device_data.h"

#include <algorithm>
#include <string>

#include "engine/device.h"
#include "engine/error.h"
#include "engine/train/recipe.h"

namespace engine {
namespace {

constexpr size_t kLargestShare = 4;  // of the free memory: the rest is for the network

size_t free_bytes(Device device) {
  const MemoryStats memory = memory_stats(device);
  return memory.limit > memory.in_use ? memory.limit - memory.in_use : 0;
}

// All pictures one after the other, or why that cannot be.
std::optional<DeviceData> read_all(const TrainTransform& transform, const Dataset& train, Device device,
                                   std::string& reason) {
  const Image first = train.load(0);
  const bool whole = first.width == transform.size && first.height == transform.size;
  if (transform.crop == TrainTransform::Crop::none && !whole) {
    reason = "the pictures are resized";
    return {};
  }
  const size_t bytes = first.pixels.size(), all = bytes * static_cast<size_t>(train.size());
  if (all > free_bytes(device) / kLargestShare) {
    reason = "the pictures take " + std::to_string(all >> 20) + " MiB, more than a quarter of the memory that is free";
    return {};
  }
  std::vector<uint8_t> pixels(all);
  for (int64_t i = 0; i < train.size(); ++i) {
    const Image image = train.load(i);
    if (image.width != first.width || image.height != first.height) {
      reason = "the pictures have different sizes";
      return {};
    }
    std::copy(image.pixels.begin(), image.pixels.end(), pixels.begin() + static_cast<ptrdiff_t>(bytes) * i);
  }
  const auto place = [transform, width = first.width, height = first.height](RandomStream& random) {
    const Augmentation chosen = choose_augmentation(transform, width, height, random);
    return Placement{.row = chosen.crop.y, .column = chosen.crop.x, .flip = chosen.flip};
  };
  return DeviceData{.pictures = Tensor::from(pixels, {train.size(), first.height, first.width, 3}, device),
                    .place = place};
}

}  // namespace

std::optional<DeviceData> keep_on_device(const TrainConfig& resolved, const Dataset& train, Device device) {
  const bool required = resolved.data_on_device == "on";
  if (resolved.data_on_device == "off" || (!required && device.type == DeviceType::cpu)) return {};
  const TrainTransform transform = train_transform(resolved);
  std::string reason;
  std::optional<DeviceData> data;
  if (transform.crop == TrainTransform::Crop::random_resized) {
    reason = "the crops are resized";
  } else if (transform.jitter.any() || transform.policy.kind != AugmentPolicy::Kind::none) {
    reason = "the colours of single pictures are changed";
  } else {
    try {
      data = read_all(transform, train, device, reason);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data || resolved.bad_images == "fail") throw;
      reason = "a picture cannot be read";
    }
  }
  check(data || !required, "--data-on-device on is not possible, because ", reason, "; leave it out");
  return data;
}

}  // namespace engine
