#include "engine/data/transforms.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/error.h"

namespace engine {
namespace {

// Python's round(): half to even.
int round_even(double x) {
  return static_cast<int>(std::nearbyint(x));
}

double between(const std::array<double, 2>& range, double unit) {
  return range[0] + (range[1] - range[0]) * unit;
}

// torchvision's RandomResizedCrop.get_params: ten tries, then the largest centred part whose proportions are allowed.
Region random_resized_crop(const TrainTransform& transform, int width, int height, RandomStream& random) {
  const double area = static_cast<double>(width) * height;
  const std::array<double, 2> log_ratio = {std::log(transform.ratio[0]), std::log(transform.ratio[1])};
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * between(transform.scale, random.uniform_double());
    const double ratio = std::exp(between(log_ratio, random.uniform_double()));
    const int w = round_even(std::sqrt(target * ratio));
    const int h = round_even(std::sqrt(target / ratio));
    if (w <= 0 || w > width || h <= 0 || h > height) continue;
    const auto y = static_cast<int>(random.below(static_cast<uint32_t>(height - h + 1)));
    const auto x = static_cast<int>(random.below(static_cast<uint32_t>(width - w + 1)));
    return {x, y, w, h};
  }
  const double ratio = static_cast<double>(width) / height;
  int w = width, h = height;
  if (ratio < transform.ratio[0]) h = std::clamp(round_even(w / transform.ratio[0]), 1, height);
  if (ratio > transform.ratio[1]) w = std::clamp(round_even(h * transform.ratio[1]), 1, width);
  return {(width - w) / 2, (height - h) / 2, w, h};
}

Region padded_crop(const TrainTransform& transform, int width, int height, RandomStream& random) {
  const int spare_rows = height + 2 * transform.padding - transform.size;
  const int spare_columns = width + 2 * transform.padding - transform.size;
  if (spare_rows < 0 || spare_columns < 0)
    fail(ErrorKind::data, "pad-and-crop: an image of ", width, "x", height, " padded by ", transform.padding,
         " is smaller than the ", transform.size, "x", transform.size,
         " crop; use a random resized crop or a smaller size");
  const auto y = static_cast<int>(random.below(static_cast<uint32_t>(spare_rows + 1)));
  const auto x = static_cast<int>(random.below(static_cast<uint32_t>(spare_columns + 1)));
  return {x - transform.padding, y - transform.padding, transform.size, transform.size};
}

// Copies `window` of `image`, black where it leaves the image.
void copy_window(const ImageView& image, const Region& window, bool flip, std::span<uint8_t> result) {
  const int begin = std::clamp(-window.x, 0, window.width);
  const int end = std::clamp(image.width - window.x, begin, window.width);
  const auto bytes = [](int pixels) { return static_cast<size_t>(pixels) * 3; };
  for (int y = 0; y < window.height; ++y) {
    uint8_t* out = result.data() + bytes(y) * static_cast<size_t>(window.width);
    const int row = window.y + y;
    if (row < 0 || row >= image.height || begin == end) {
      std::memset(out, 0, bytes(window.width));
      continue;
    }
    const uint8_t* in = image.pixels + row * image.stride + ptrdiff_t{3} * (window.x + begin);
    if (!flip) {
      std::memset(out, 0, bytes(begin));
      std::memcpy(out + bytes(begin), in, bytes(end - begin));
      std::memset(out + bytes(end), 0, bytes(window.width - end));
    } else {
      std::memset(out, 0, bytes(window.width - end));
      for (int x = end - 1; x >= begin; --x) std::memcpy(out + bytes(window.width - 1 - x), in + bytes(x - begin), 3);
      std::memset(out + bytes(window.width - begin), 0, bytes(begin));
    }
  }
}

// Where a centred window of `size` begins: torchvision pads a shorter side evenly, the odd row or column
// after the image, and rounds the margin of a longer one to even.
int centre(int available, int size) {
  return available < size ? -((size - available) / 2) : round_even((available - size) / 2.0);
}

// `scaled.window` of the image resized to scaled.width x scaled.height.
void resize_and_crop(const ImageView& image, const EvalWindow& scaled, Interpolation interpolation, bool flip,
                     std::span<uint8_t> result) {
  const auto& [width, height, window] = scaled;
  if (width == image.width && height == image.height) return copy_window(image, window, flip, result);

  // Only the part that is left is ever computed.
  const int size = window.width;
  const int x = std::max(window.x, 0), y = std::max(window.y, 0);
  const Region part = {x, y, std::min(window.x + size, width) - x, std::min(window.y + size, height) - y};
  const ResizeOptions options = {
      .width = width, .height = height, .interpolation = interpolation, .part = part, .flip = flip};
  if (part == window) return resize(image, options, result);
  const Image visible = resize(image, options);
  // The flipped picture's left margin is the right one of the unflipped.
  const int left = flip ? window.x + size - (x + part.width) : x - window.x;
  copy_window(visible, {-left, window.y - y, size, size}, false, result);
}

void check_result(const char* operation, const ImageView& image, int size, size_t bytes) {
  check(size > 0, operation, ": size ", size, ", expected at least 1");
  check(image.width > 0 && image.height > 0, operation, ": image of ", image.width, "x", image.height,
        ", expected at least 1x1");
  const size_t expected = static_cast<size_t>(size) * static_cast<size_t>(size) * 3;
  check(bytes == expected, operation, ": result has ", bytes, " bytes, expected ", expected, " for ", size, "x", size,
        " RGB");
}

}  // namespace

EvalWindow eval_window(const EvalTransform& transform, int width, int height) {
  EvalWindow result{.width = width, .height = height, .window = {}};
  if (const int short_side = transform.resize; short_side > 0) {
    const int64_t shorter = std::min(width, height), longer = std::max(width, height);
    const int64_t new_longer = short_side * longer / shorter;
    constexpr int64_t kMax = int64_t{1} << 29;
    if (new_longer > kMax)
      fail(ErrorKind::data, "resize: an image of ", width, "x", height,
           " is too elongated to resize its short side to ", short_side, "; crop or remove it");
    (width < height ? result.width : result.height) = short_side;
    (width < height ? result.height : result.width) = static_cast<int>(new_longer);
  }
  const int size = transform.size;
  result.window = {centre(result.width, size), centre(result.height, size), size, size};
  return result;
}

Augmentation choose_augmentation(const TrainTransform& transform, int width, int height, RandomStream& random) {
  Augmentation augmentation{{0, 0, width, height}, false, transform.interpolation, {}};
  if (transform.crop == TrainTransform::Crop::random_resized)
    augmentation.crop = random_resized_crop(transform, width, height, random);
  if (transform.crop == TrainTransform::Crop::pad_and_crop)
    augmentation.crop = padded_crop(transform, width, height, random);
  if (transform.flip) augmentation.flip = random.next_u32() >> 31 != 0;
  if (transform.random_interpolation)
    augmentation.interpolation = random.next_u32() >> 31 != 0 ? Interpolation::bicubic : Interpolation::bilinear;
  choose_ops(transform.jitter, random, augmentation.ops);
  choose_ops(transform.policy, augmentation.interpolation, transform.size, transform.size, random, augmentation.ops);
  return augmentation;
}

namespace {

void crop_and_flip(const TrainTransform& transform, const ImageView& image, const Augmentation& augmentation,
                   std::span<uint8_t> result) {
  switch (transform.crop) {
    case TrainTransform::Crop::random_resized:
      // Cropped first: pixels outside the crop must not bleed into its edge.
      return resize(image.crop(augmentation.crop),
                    {.width = transform.size,
                     .height = transform.size,
                     .interpolation = augmentation.interpolation,
                     .flip = augmentation.flip},
                    result);
    case TrainTransform::Crop::pad_and_crop:
      return copy_window(image, augmentation.crop, augmentation.flip, result);
    case TrainTransform::Crop::none:
      return resize_and_crop(image,
                             eval_window({.resize = transform.size, .size = transform.size}, image.width, image.height),
                             augmentation.interpolation, augmentation.flip, result);
  }
}

}  // namespace

void transform_image(const TrainTransform& transform, const ImageView& image, const Augmentation& augmentation,
                     std::span<uint8_t> result) {
  check_result("train transform", image, transform.size, result.size());
  crop_and_flip(transform, image, augmentation, result);
  const Pixels pixels(result, transform.size, transform.size);
  for (const PixelOp& op : augmentation.ops) apply(op, pixels, transform.policy.fill());
}

void transform_image(const TrainTransform& transform, const ImageView& image, RandomStream& random,
                     std::span<uint8_t> result) {
  transform_image(transform, image, choose_augmentation(transform, image.width, image.height, random), result);
}

void transform_image(const EvalTransform& transform, const ImageView& image, std::span<uint8_t> result) {
  check_result("eval transform", image, transform.size, result.size());
  resize_and_crop(image, eval_window(transform, image.width, image.height), transform.interpolation, false, result);
}

void decode_and_transform(std::span<const uint8_t> file, const std::string& name, const TrainTransform& transform,
                          RandomStream& random, std::span<uint8_t> result, const DecodeLimits& limits) {
  if (transform.crop != TrainTransform::Crop::random_resized)
    return transform_image(transform, decode_image(file, name, limits), random, result);
  Augmentation augmentation;
  const auto choose = [&](int width, int height) {
    augmentation = choose_augmentation(transform, width, height, random);
    return augmentation.crop;
  };
  const Image image = decode_image_region(file, name, choose, limits);
  augmentation.crop = {0, 0, image.width, image.height};
  transform_image(transform, image, augmentation, result);
}

}  // namespace engine
