#include "engine/data/image.h"

#include "engine/data/jpeg.h"
#include "engine/data/png.h"
#include "engine/error.h"

namespace engine {
namespace {

[[noreturn]] void fail_unknown(std::span<const uint8_t> bytes, const std::string& name) {
  check_not_empty(bytes, name);
  std::string start;
  for (size_t i = 0; i < bytes.size() && i < 8; ++i) {
    static constexpr char kHex[] = "0123456789abcdef";
    start += {kHex[bytes[i] >> 4], kHex[bytes[i] & 15], ' '};
  }
  start.pop_back();
  fail(ErrorKind::data, name, ": neither JPEG nor PNG (the ", bytes.size(), " bytes start with ", start,
       "); convert or remove the file");
}

}  // namespace

void check_not_empty(std::span<const uint8_t> bytes, const std::string& name) {
  if (bytes.empty()) fail(ErrorKind::data, name, ": the file is empty, expected a JPEG or PNG image");
}

void check_inside(const Region& region, int width, int height) {
  check(region.x >= 0 && region.y >= 0 && region.width > 0 && region.height > 0 && region.width <= width - region.x &&
            region.height <= height - region.y,
        "image: region ", region.width, "x", region.height, " at (", region.x, ", ", region.y,
        ") must be a rectangle inside the ", width, "x", height, " image");
}

Image cut(const Image& image, const Region& region) {
  check_inside(region, image.width, image.height);
  const ImageView view = ImageView(image).crop(region);
  Image result{region.width, region.height, {}};
  result.pixels.reserve(size_t{3} * static_cast<size_t>(region.width) * static_cast<size_t>(region.height));
  for (int y = 0; y < region.height; ++y) {
    const uint8_t* row = view.pixels + y * view.stride;
    result.pixels.insert(result.pixels.end(), row, row + ptrdiff_t{3} * region.width);
  }
  return result;
}

Image decode_image(std::span<const uint8_t> bytes, const std::string& name, const DecodeLimits& limits) {
  if (is_jpeg(bytes)) return decode_jpeg(bytes, name, limits);
  if (is_png(bytes)) return decode_png(bytes, name, limits);
  fail_unknown(bytes, name);
}

std::optional<ImageSize> image_size(std::span<const uint8_t> bytes) {
  if (is_jpeg(bytes)) return jpeg_size(bytes);
  if (is_png(bytes)) return png_size(bytes);
  return std::nullopt;
}

Image decode_image_region(std::span<const uint8_t> bytes, const std::string& name, const RegionChoice& choose,
                          const DecodeLimits& limits) {
  if (is_jpeg(bytes)) return decode_jpeg_region(bytes, name, choose, limits);
  if (is_png(bytes)) {
    const Image image = decode_png(bytes, name, limits);
    return cut(image, choose(image.width, image.height));
  }
  fail_unknown(bytes, name);
}

}  // namespace engine
