#pragma once
// Antialiased resizing, byte-equal to Pillow's Image.resize (13.0) of RGB images.
#include <optional>

#include "engine/data/image.h"

namespace engine {

enum class Interpolation { bilinear, bicubic };

// A rectangle in a source image, in pixels; its edges need not be whole.
struct Box {
  float left = 0;
  float top = 0;
  float right = 0;
  float bottom = 0;
};

struct ResizeOptions {
  int width = 0;  // of the whole result
  int height = 0;
  Interpolation interpolation = Interpolation::bilinear;
  // What of the source becomes the result; all of it if absent. As in Pillow, pixels of the source just
  // outside the box take part at its edge; resize a cropped view if they shall not.
  std::optional<Box> box = std::nullopt;
  // What of the result is wanted; all of it if absent. The rest is not computed.
  std::optional<Region> part = std::nullopt;
  // Mirrors what is wanted left to right, at no cost.
  bool flip = false;
};

// The wanted part of `source` at the new size, [height, width, 3], written to `result`, which has exactly
// that many bytes. Both passes round to 8 bits. Throws Error(ErrorKind::usage) if a size is not positive, or
// a box or part leaves its image.
void resize(const ImageView& source, const ResizeOptions& options, std::span<uint8_t> result);
Image resize(const ImageView& source, const ResizeOptions& options);

}  // namespace engine
