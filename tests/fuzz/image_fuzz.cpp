// libFuzzer's entry: any bytes as an image file. Decoding, of all or of a part, must end in a picture of the
// announced size or in Error(data); a picture must pass through both transforms.
#include <cstdint>
#include <cstdlib>

#include "engine/data/image.h"
#include "engine/data/transforms.h"
#include "engine/error.h"

namespace {

template <class Work>
bool refuses_as_data(const Work& work) {
  try {
    work();
  } catch (const engine::Error& error) {
    if (error.kind() != engine::ErrorKind::data) std::abort();
    return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace engine;
  const std::span<const uint8_t> file(data, size);
  const DecodeLimits limits = {.max_pixels = 1 << 14, .max_bytes = 1 << 22, .max_scans = 10};
  std::vector<uint8_t> result(size_t{3} * 24 * 24);
  RandomStream random(size, 0, 0, purpose::kAugmentation);
  refuses_as_data([&] { decode_and_transform(file, "input", {.size = 24}, random, result, limits); });

  // What is a picture as a whole is one in part.
  DecodeLimits partly = limits;
  partly.partial = true;
  bool refused_partly = true;
  refuses_as_data([&] {
    const Image part = decode_image(file, "input", partly);
    const auto pixels = static_cast<size_t>(part.width) * static_cast<size_t>(part.height);
    if (pixels == 0 || part.pixels.size() != 3 * pixels) std::abort();
    refused_partly = false;
  });

  Image image;
  if (refuses_as_data([&] { image = decode_image(file, "input", limits); })) return 0;
  if (refused_partly) std::abort();
  const auto pixels = static_cast<size_t>(image.width) * static_cast<size_t>(image.height);
  if (pixels == 0 || image.pixels.size() != 3 * pixels) std::abort();
  transform_image(TrainTransform{.size = 24, .interpolation = Interpolation::bicubic}, image, random, result);
  transform_image(EvalTransform{.resize = 28, .size = 24}, image, result);
  return 0;
}
