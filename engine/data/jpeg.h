#pragma once
// JPEG files, read with libjpeg-turbo. Private to engine/data.
#include "engine/data/image.h"

namespace engine {

bool is_jpeg(std::span<const uint8_t> bytes);

// As image_size, likewise.
std::optional<ImageSize> jpeg_size(std::span<const uint8_t> bytes);

// As decode_image, for bytes of which is_jpeg holds.
Image decode_jpeg(std::span<const uint8_t> bytes, const std::string& name, const DecodeLimits& limits);

// As decode_image_region, likewise.
Image decode_jpeg_region(std::span<const uint8_t> bytes, const std::string& name, const RegionChoice& choose,
                         const DecodeLimits& limits);

}  // namespace engine
