#include "engine/train/accuracy.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "engine/error.h"
#include "engine/train/progress.h"
#include "engine/train/recipe_book.h"

namespace engine {
namespace {

constexpr int64_t kImageNetClasses = 1000, kImageNetSamples = 50000, kImageNetCrop = 224, kImageNetResize = 256;
constexpr int64_t kCifarSamples = 10000, kCifarSide = 32;

// The recipe of a run that goes on may lie in a file that is gone.
std::optional<Recipe> recipe_of(const TrainConfig& config) {
  if (config.recipe.empty()) return std::nullopt;
  try {
    return find_recipe(config.recipe);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

double wilson_half_width(double percent, int64_t samples) {
  if (samples <= 0) return 0;
  constexpr double kZ = 1.96;
  const double p = percent / 100, n = static_cast<double>(samples);
  return 100 * kZ * std::sqrt(p * (1 - p) / n + kZ * kZ / (4 * n * n)) / (1 + kZ * kZ / n);
}

std::string not_paper_comparable(const TrainConfig& config, const DataFacts& data, int64_t samples, int64_t skipped) {
  if (data.generated) return "the pictures are drawn by this program";
  const bool cifar =
      data.width == kCifarSide && data.height == kCifarSide && (data.num_classes == 10 || data.num_classes == 100);
  const bool imagenet = !data.small() && data.num_classes == kImageNetClasses;
  if (!cifar && !imagenet) return fmt::format("neither ImageNet-1k nor CIFAR: {} classes", data.num_classes);
  if (skipped > 0) return fmt::format("{} pictures were skipped", with_thousands(skipped));
  const int64_t published = cifar ? kCifarSamples : kImageNetSamples;
  if (config.val_split > 0) {
    return fmt::format("{} held-out training pictures, published are those of the {} {} pictures",
                       with_thousands(samples), with_thousands(published), cifar ? "test" : "validation");
  }
  if (samples != published) {
    return fmt::format("{} pictures, published are those of {}", with_thousands(samples), with_thousands(published));
  }
  int64_t crop = cifar ? kCifarSide : kImageNetCrop, resize = cifar ? 0 : kImageNetResize;
  if (const std::optional<Recipe> recipe = recipe_of(config)) {
    TrainConfig original;
    apply_recipe(original, *recipe);
    crop = original.val_crop_size.value_or(crop);
    resize = original.val_resize_size.value_or(resize);
  }
  if (config.val_crop_size != crop || config.val_resize_size != resize) {
    return fmt::format("tested at {} px of {}, published are those at {} px of {}", *config.val_crop_size,
                       *config.val_resize_size, crop, resize);
  }
  return "";
}

std::string recipe_expectation(const TrainConfig& config) {
  const std::optional<Recipe> recipe = recipe_of(config);
  const ExpectedAccuracy* expected = recipe ? recipe->expectation(config.model.value_or("")) : nullptr;
  if (!expected) return "";
  return fmt::format("{} expects {:.2f} ± {:.2f}% on {} ({})", recipe->name, expected->acc1, expected->band,
                     recipe->data, expected->source);
}

std::string against_recipe(const TrainConfig& config, double acc1, bool comparable) {
  const std::optional<Recipe> recipe = recipe_of(config);
  const ExpectedAccuracy* expected = recipe ? recipe->expectation(config.model.value_or("")) : nullptr;
  if (!expected) return "";
  const std::string text = recipe_expectation(config);
  const double missing = expected->acc1 - expected->band - acc1;
  if (missing <= 0) return text + ": reached";
  if (!comparable) return text + ", which this accuracy cannot be compared with";
  return text + fmt::format(": missed by {:.2f} points", missing);
}

}  // namespace engine
