#pragma once
#include <cstdint>
#include <vector>

#include "engine/data/image.h"

namespace engine {

// A PNG file of `image`, 8-bit RGB.
std::vector<uint8_t> encode_png(const ImageView& image);

}  // namespace engine
