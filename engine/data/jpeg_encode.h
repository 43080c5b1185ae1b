#pragma once
#include <cstdint>
#include <vector>

#include "engine/data/image.h"

namespace engine {

// A baseline JPEG of `image` with libjpeg's tables for `quality` (1 ... 100), optimal Huffman codes and chroma at half
// the resolution both ways, as Pillow saves it.
std::vector<uint8_t> encode_jpeg(const ImageView& image, int quality);

}  // namespace engine
