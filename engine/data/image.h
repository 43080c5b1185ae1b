#pragma once
// Pictures in memory, and decoding of JPEG and PNG files.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace engine {

// 8-bit RGB, rows top to bottom without gaps.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> pixels;  // [height, width, 3]
};

// A rectangle of whole pixels: columns x ... x+width-1, rows y ... y+height-1.
struct Region {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;
  bool operator==(const Region&) const = default;
};

// Somebody else's pixels, 8-bit RGB; row i starts at pixels + i*stride bytes.
struct ImageView {
  const uint8_t* pixels = nullptr;
  int width = 0;
  int height = 0;
  ptrdiff_t stride = 0;

  ImageView() = default;
  ImageView(const uint8_t* first, int w, int h, ptrdiff_t row_bytes)
      : pixels(first), width(w), height(h), stride(row_bytes) {}
  ImageView(const Image& image)  // NOLINT(google-explicit-constructor): an image is a view of itself
      : ImageView(image.pixels.data(), image.width, image.height, ptrdiff_t{3} * image.width) {}

  // The part of this view inside `region`, which must not leave it.
  ImageView crop(const Region& region) const {
    return {pixels + region.y * stride + ptrdiff_t{3} * region.x, region.width, region.height, stride};
  }
};

// Throws Error(ErrorKind::usage) unless `region` has pixels, all of them in an image of that size.
void check_inside(const Region& region, int width, int height);

// A copy of the part of `image` in `region`, which must not leave it.
Image cut(const Image& image, const Region& region);

// What a file may ask of decode_image. The defaults admit every photograph and bound a hostile file.
struct DecodeLimits {
  int64_t max_pixels = 100'000'000;
  // Working memory beside the result: coefficients of a progressive JPEG, raw samples of a PNG.
  int64_t max_bytes = int64_t{1} << 30;
  // Encoders write about 10 scans per progressive JPEG; each costs a pass over all coefficients.
  int max_scans = 100;
  // Not refused: a JPEG that ends early or breaks inside, once it has its first row; what is missing is gray or black.
  bool partial = false;
};

// Decodes a JPEG or PNG file, told apart by content, to the bytes of Pillow's Image.open(f).convert("RGB"):
// CMYK by Pillow's formula, alpha and tRNS dropped, 16-bit colour cut to the high byte, 16-bit gray clipped
// to 255, EXIF orientation and colour profiles ignored, the default picture of an animated PNG.
// `name` stands for the file in messages. Throws Error(ErrorKind::data) if the file is not a picture,
// truncated, broken, or beyond `limits`; a header that lies costs neither time nor memory in proportion.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name, const DecodeLimits& limits = {});

// Throws Error(ErrorKind::data) if there are no bytes.
void check_not_empty(std::span<const uint8_t> bytes, const std::string& name);

struct ImageSize {
  int width = 0;
  int height = 0;
};

// What the header of a JPEG or PNG file says; nothing for other and broken files.
std::optional<ImageSize> image_size(std::span<const uint8_t> bytes);

// Names the part of an image of `width` x `height` pixels that is wanted; it must lie inside.
using RegionChoice = std::function<Region(int width, int height)>;

// The part of decode_image's result that `choose` names, pixel for pixel; what is refused there is refused here,
// but for errors in a JPEG's data that leave its end readable. Of a sequential JPEG only the wanted blocks are
// transformed: a third more photos per second for the crops of a random resized crop.
Image decode_image_region(std::span<const uint8_t> bytes, const std::string& name, const RegionChoice& choose,
                          const DecodeLimits& limits = {});

}  // namespace engine
