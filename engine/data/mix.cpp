#include "engine/data/mix.h"

#include <algorithm>
#include <cmath>

namespace engine {
namespace {

double between(double low, double high, RandomStream& random) {
  return low + (high - low) * random.uniform_double();
}

// The logarithm of a number from Gamma(shape, 1). G. Marsaglia, W. W. Tsang, "A simple method for generating gamma
// variables", ACM TOMS 26 (2000); below shape 1 by their section 6, in logarithms because small shapes underflow.
double log_gamma_sample(double shape, RandomStream& random) {
  if (shape < 1) {
    const double larger = log_gamma_sample(shape + 1, random);
    return larger + std::log(1.0 - random.uniform_double()) / shape;
  }
  const double d = shape - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = random.normal(), v = 1.0 + c * x;
    if (v <= 0) continue;
    const double cube = v * v * v, u = 1.0 - random.uniform_double();
    if (std::log(u) < 0.5 * x * x + d - d * cube + d * std::log(cube)) return std::log(d * cube);
  }
}

}  // namespace

double sample_beta(double alpha, RandomStream& random) {
  const double first = log_gamma_sample(alpha, random), second = log_gamma_sample(alpha, random);
  return 1.0 / (1.0 + std::exp(second - first));
}

ImageMix cutmix_around(double lambda, int64_t centre_y, int64_t centre_x, int64_t height, int64_t width) {
  const double radius = 0.5 * std::sqrt(1.0 - lambda);
  const auto half_width = static_cast<int64_t>(radius * static_cast<double>(width));
  const auto half_height = static_cast<int64_t>(radius * static_cast<double>(height));
  ImageMix mix;
  mix.left = static_cast<int32_t>(std::max<int64_t>(centre_x - half_width, 0));
  mix.top = static_cast<int32_t>(std::max<int64_t>(centre_y - half_height, 0));
  mix.right = static_cast<int32_t>(std::min(centre_x + half_width, width));
  mix.bottom = static_cast<int32_t>(std::min(centre_y + half_height, height));
  const auto cut = static_cast<double>(mix.right - mix.left) * static_cast<double>(mix.bottom - mix.top);
  mix.target_weight = static_cast<float>(1.0 - cut / static_cast<double>(width * height));
  return mix;
}

ImageMix choose_mix(const MixOptions& options, int64_t epoch, int64_t height, int64_t width, RandomStream& random) {
  if (!options.any() || (options.end_epoch > 0 && epoch >= options.end_epoch)) return {};
  if (options.probability < 1 && random.uniform_double() >= options.probability) return {};
  const bool both = options.mixup_alpha > 0 && options.cutmix_alpha > 0;
  const bool cut = both ? random.uniform_double() < options.switch_probability : options.cutmix_alpha > 0;
  ImageMix mix;
  if (cut) {
    const double lambda = sample_beta(options.cutmix_alpha, random);
    const auto x = static_cast<int64_t>(random.below(static_cast<uint32_t>(width)));
    const auto y = static_cast<int64_t>(random.below(static_cast<uint32_t>(height)));
    mix = cutmix_around(lambda, y, x, height, width);
  } else {
    mix.weight = mix.target_weight = static_cast<float>(sample_beta(options.mixup_alpha, random));
  }
  mix.partner = static_cast<int32_t>(options.partner);
  return mix;
}

ErasedBox choose_erased(const ErasingOptions& options, int64_t height, int64_t width, RandomStream& random) {
  if (options.probability <= 0 || random.uniform_double() >= options.probability) return {};
  const auto area = static_cast<double>(height * width);
  for (int attempt = 0; attempt < 10; ++attempt) {  // torchvision's RandomErasing.get_params
    const double erased = area * between(options.smallest, options.largest, random);
    const double ratio = std::exp(between(std::log(options.flattest), std::log(options.steepest), random));
    const auto h = static_cast<int64_t>(std::nearbyint(std::sqrt(erased * ratio)));
    const auto w = static_cast<int64_t>(std::nearbyint(std::sqrt(erased / ratio)));
    if (h >= height || w >= width) continue;
    const auto top = static_cast<int64_t>(random.below(static_cast<uint32_t>(height - h + 1)));
    const auto left = static_cast<int64_t>(random.below(static_cast<uint32_t>(width - w + 1)));
    return {.top = top, .left = left, .bottom = top + h, .right = left + w};
  }
  return {};
}

}  // namespace engine
