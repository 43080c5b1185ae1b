#include "engine/data/image.h"

#include "engine/data/jpeg.h"
#include "engine/data/png.h"
#include "engine/error.h"

namespace engine {

Image decode_image(std::span<const uint8_t> bytes, const std::string& name, const DecodeLimits& limits) {
  if (bytes.empty()) fail(ErrorKind::data, name, ": the file is empty, expected a JPEG or PNG image");
  if (is_jpeg(bytes)) return decode_jpeg(bytes, name, limits);
  if (is_png(bytes)) return decode_png(bytes, name, limits);
  std::string start;
  for (size_t i = 0; i < bytes.size() && i < 8; ++i) {
    static constexpr char kHex[] = "0123456789abcdef";
    start += {kHex[bytes[i] >> 4], kHex[bytes[i] & 15], ' '};
  }
  start.pop_back();
  fail(ErrorKind::data, name, ": neither JPEG nor PNG (the ", bytes.size(), " bytes start with ", start,
       "); convert or remove the file");
}

}  // namespace engine
