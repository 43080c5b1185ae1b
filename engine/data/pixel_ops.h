#pragma once
// Operations on the colours of a picture, in place and byte-equal to Pillow's (13.0) as torchvision's
// transforms.functional calls them.
#include <array>
#include <cstdint>
#include <span>

#include "engine/data/image.h"

namespace engine {

// RGB, rows without gaps; whoever makes it owns the bytes.
struct Pixels {
  uint8_t* data = nullptr;  // [height, width, 3]
  int width = 0;
  int height = 0;

  Pixels() = default;
  Pixels(std::span<uint8_t> bytes, int w, int h) : data(bytes.data()), width(w), height(h) {}
  explicit Pixels(Image& image) : data(image.pixels.data()), width(image.width), height(image.height) {}

  size_t count() const { return static_cast<size_t>(width) * static_cast<size_t>(height); }
  size_t bytes() const { return 3 * count(); }
};

// degenerate + factor * (picture - degenerate), cut to 0 ... 255: 0 gives the degenerate picture, 1 this one.
void adjust_brightness(const Pixels& pixels, double factor);  // degenerate: black
void adjust_contrast(const Pixels& pixels, double factor);    // the mean luminance
void adjust_saturation(const Pixels& pixels, double factor);  // each pixel's luminance
void adjust_sharpness(const Pixels& pixels, double factor);   // smoothed by 3x3 pixels, the edges as they are

void adjust_hue(const Pixels& pixels, double shift);    // turned by shift * 360 degrees; -0.5 ... 0.5
void posterize(const Pixels& pixels, int bits);         // keeps the highest 0 ... 8 bits
void solarize(const Pixels& pixels, double threshold);  // inverts values from `threshold` on
void solarize_add(const Pixels& pixels, int amount);    // timm's: adds to values below 128
void auto_contrast(const Pixels& pixels);               // each channel stretched to 0 ... 255
void equalize(const Pixels& pixels);                    // each channel's histogram made flat
void invert(const Pixels& pixels);

}  // namespace engine
