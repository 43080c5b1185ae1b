#pragma once
// PNG files, read with libspng. Private to engine/data.
#include "engine/data/image.h"

namespace engine {

bool is_png(std::span<const uint8_t> bytes);

// As image_size, likewise.
std::optional<ImageSize> png_size(std::span<const uint8_t> bytes);

// As decode_image, for bytes of which is_png holds.
Image decode_png(std::span<const uint8_t> bytes, const std::string& name, const DecodeLimits& limits);

}  // namespace engine
