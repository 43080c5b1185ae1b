#pragma once
// Shears, translations and rotations, in place and byte-equal to torchvision's of PIL images (Pillow 13.0).
#include <array>
#include <cstdint>

#include "engine/data/pixel_ops.h"
#include "engine/data/resize.h"

namespace engine {

// The result's pixel at (x, y), seen from its middle, comes from (m[0]*x + m[1]*y + m[2], m[3]*x + m[4]*y + m[5]).
using AffineMatrix = std::array<double, 6>;

using Colour = std::array<uint8_t, 3>;

// What comes from outside becomes `fill`.
void apply_affine(const Pixels& pixels, const AffineMatrix& matrix, Interpolation interpolation, const Colour& fill);

inline AffineMatrix shear_x(double slope) {  // around the upper left corner
  return {1, slope, 0, 0, 1, 0};
}
inline AffineMatrix shear_y(double slope) {
  return {1, 0, 0, slope, 1, 0};
}
inline AffineMatrix translation(double right, double down) {
  return {1, 0, -right, 0, 1, -down};
}

// Around the centre, counter-clockwise. Multiples of a quarter turn that the shape allows move pixels unchanged.
void rotate(const Pixels& pixels, double degrees, Interpolation interpolation, const Colour& fill);

}  // namespace engine
