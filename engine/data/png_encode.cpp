#include "engine/data/png_encode.h"

#include <spng.h>

#include <cstdlib>
#include <memory>

#include "engine/error.h"

namespace engine {

std::vector<uint8_t> encode_png(const ImageView& image) {
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(SPNG_CTX_ENCODER), spng_ctx_free);
  spng_ihdr header{};
  header.width = static_cast<uint32_t>(image.width);
  header.height = static_cast<uint32_t>(image.height);
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  const size_t row_bytes = static_cast<size_t>(image.width) * 3;
  int error = context ? 0 : SPNG_EMEM;
  if (!error) error = spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1);
  if (!error) error = spng_set_ihdr(context.get(), &header);
  if (!error)
    error = spng_encode_image(context.get(), nullptr, 0, SPNG_FMT_PNG, SPNG_ENCODE_PROGRESSIVE | SPNG_ENCODE_FINALIZE);
  for (int y = 0; !error && y < image.height; ++y)
    error = spng_encode_row(context.get(), image.pixels + y * image.stride, row_bytes);
  if (error == SPNG_EOI) error = 0;  // the last row says that it was the last
  size_t size = 0;
  const std::unique_ptr<uint8_t, decltype(&std::free)> png(
      error ? nullptr : static_cast<uint8_t*>(spng_get_png_buffer(context.get(), &size, &error)), std::free);
  if (error || !png)
    fail(ErrorKind::data, "PNG: cannot encode an image of ", image.width, "x", image.height, ": ",
         spng_strerror(error));
  return {png.get(), png.get() + size};
}

}  // namespace engine
