#pragma once
// The built-in data set: pictures of ten kinds of outline and texture, drawn when they are asked for. It lets
// someone with neither data nor network train a model and see that it learned.
#include <cstdint>

#include "engine/data/dataset.h"

namespace engine {

struct ShapesOptions {
  int64_t train_size = 20000;
  int64_t val_size = 2000;
  uint64_t seed = 0;  // of the pictures; another seed is another data set
};

// 32x32 RGB. Seven outlines (circle, square, triangle, star, cross, crescent, arrow), filled or drawn as a
// line, and three textures (stripes, checkerboard, dots) inside one of them, each at a random place, size,
// rotation, stretch and colour on a noisy gradient with other lines and blobs around. Sample i has class
// i % 10, so the classes are balanced; picture i is a function of (seed, i) alone, and no training picture is
// a validation picture. A linear classifier stays under 50%; resnet20 passes 95% in ten epochs.
// Throws Error(ErrorKind::usage) for a size below 10.
DatasetPair open_shapes(const ShapesOptions& options = {});

}  // namespace engine
