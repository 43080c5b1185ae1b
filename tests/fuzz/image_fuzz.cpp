// libFuzzer's entry: any bytes as an image file. Decoding must end in a picture of the announced size or in
// Error(data); a picture must pass through both transforms.
//
//   cmake -S . -B build-fuzz -DCMAKE_CXX_COMPILER=clang++ -DENGINE_SANITIZE=address,undefined
//   ninja -C build-fuzz image_fuzz && build-fuzz/bin/image_fuzz -max_len=20000 CORPUS
#include <cstdint>
#include <cstdlib>

#include "engine/data/image.h"
#include "engine/data/transforms.h"
#include "engine/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace engine;
  Image image;
  try {
    image = decode_image({data, size}, "input", {.max_pixels = 1 << 20, .max_bytes = 1 << 24, .max_scans = 20});
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) std::abort();
    return 0;
  }
  const auto pixels = static_cast<size_t>(image.width) * static_cast<size_t>(image.height);
  if (pixels == 0 || image.pixels.size() != 3 * pixels) std::abort();

  std::vector<uint8_t> result(size_t{3} * 24 * 24);
  RandomStream random(size, 0, 0, purpose::kAugmentation);
  transform_image(TrainTransform{.size = 24, .interpolation = Interpolation::bicubic}, image, random, result);
  transform_image(EvalTransform{.resize = 28, .size = 24}, image, result);
  return 0;
}
