// Any bytes as the EXIF block of a good photo: the picture is that of the file without it, whatever the block claims.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "engine/data/image.h"
#include "engine/error.h"

namespace {

std::vector<uint8_t> read_photo() {
  std::ifstream file(ENGINE_GOLDEN_DIR "/420.jpg", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace engine;
  static const std::vector<uint8_t> photo = read_photo();
  static const Image expected = decode_image(photo, "photo");
  constexpr size_t kLargest = 65533;  // a segment's length counts its own two bytes
  const size_t payload = std::min(size, kLargest);
  std::vector<uint8_t> file(photo.begin(), photo.begin() + 2);  // the start of the image
  file.insert(file.end(), {0xff, 0xe1, static_cast<uint8_t>((payload + 2) >> 8), static_cast<uint8_t>(payload + 2)});
  file.insert(file.end(), data, data + payload);
  file.insert(file.end(), photo.begin() + 2, photo.end());
  const Image image = decode_image(file, "input");
  if (image.width != expected.width || image.pixels != expected.pixels) std::abort();
  const auto found = image_size(file);
  if (!found || found->width != expected.width || found->height != expected.height) std::abort();
  const auto whole = [](int width, int height) { return Region{0, 0, width, height}; };
  if (decode_image_region(file, "input", whole).pixels != expected.pixels) std::abort();
  return 0;
}
