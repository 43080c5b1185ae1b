#include "engine/data/affine.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

namespace engine {
namespace {

constexpr double kDegree = std::numbers::pi / 180.0;

// Python's round(value, 15), which Pillow puts between the cosine and its matrix.
double round_15(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, 15).ptr;
  double rounded = 0;
  std::from_chars(text, end, rounded);
  return rounded;
}

// A picture that is read around points between its pixels.
class Source {
 public:
  Source(const uint8_t* pixels, int width, int height) : pixels_(pixels), width_(width), height_(height) {}

  // Pixels count with the middle at a half. False: outside.
  bool contains(double x, double y) const { return x >= 0 && x < width_ && y >= 0 && y < height_; }

  void bilinear(double x, double y, uint8_t* out) const {
    const int left = floor_of(x -= 0.5), top = floor_of(y -= 0.5);
    const double dx = x - left, dy = y - top;
    const std::array<size_t, 2> columns = {column(left), column(left + 1)};
    const std::array<const uint8_t*, 2> rows = {row(top), row(top + 1)};
    for (size_t c = 0; c < 3; ++c) {
      const auto between = [&](const uint8_t* line) {
        const int first = line[columns[0] + c], second = line[columns[1] + c];
        return first + (second - first) * dx;
      };
      const double above = between(rows[0]), below = between(rows[1]);
      out[c] = static_cast<uint8_t>(above + (below - above) * dy);
    }
  }

  // Keys' cubic with a = -1, through four values at -1, 0, 1, 2, at d in [0, 1).
  static double cubic(double a, double b, double c, double e, double d) {
    return b + d * (-a + c + d * (2 * (a - b) + c - e + d * (-a + b - c + e)));
  }

  void bicubic(double x, double y, uint8_t* out) const {
    const int left = floor_of(x -= 0.5), top = floor_of(y -= 0.5);
    const double dx = x - left, dy = y - top;
    std::array<size_t, 4> columns;
    std::array<const uint8_t*, 4> rows;
    for (int i = 0; i < 4; ++i) {
      columns[static_cast<size_t>(i)] = column(left - 1 + i);
      rows[static_cast<size_t>(i)] = row(top - 1 + i);
    }
    for (size_t c = 0; c < 3; ++c) {
      std::array<double, 4> v;
      for (size_t i = 0; i < 4; ++i) {
        const auto at = [&](size_t j) { return static_cast<double>(rows[i][columns[j] + c]); };
        v[i] = cubic(at(0), at(1), at(2), at(3), dx);
      }
      const double value = cubic(v[0], v[1], v[2], v[3], dy);
      out[c] = value <= 0 ? 0 : value >= 255 ? 255 : static_cast<uint8_t>(value);
    }
  }

 private:
  // Of a number that is at least -1/2; std::floor is a call for the oldest processors.
  static int floor_of(double x) { return x < 0 ? -1 : static_cast<int>(x); }

  size_t column(int x) const { return 3 * static_cast<size_t>(std::clamp(x, 0, width_ - 1)); }
  const uint8_t* row(int y) const {
    return pixels_ + static_cast<size_t>(std::clamp(y, 0, height_ - 1)) * 3 * static_cast<size_t>(width_);
  }

  const uint8_t* pixels_;
  int width_, height_;
};

std::vector<uint8_t> copy_of(const Pixels& pixels) {
  return {pixels.data, pixels.data + pixels.bytes()};
}

// result(x, y) = source(from(x, y))
void permute(const Pixels& pixels, const auto& from) {
  const std::vector<uint8_t> source = copy_of(pixels);
  uint8_t* out = pixels.data;
  for (int y = 0; y < pixels.height; ++y)
    for (int x = 0; x < pixels.width; ++x, out += 3)
      std::memcpy(out, source.data() + 3 * static_cast<size_t>(from(x, y)), 3);
}

}  // namespace

void apply_affine(const Pixels& pixels, const AffineMatrix& matrix, Interpolation interpolation, const Colour& fill) {
  const std::vector<uint8_t> copy = copy_of(pixels);
  const Source source(copy.data(), pixels.width, pixels.height);
  const auto& [a, b, c, d, e, f] = matrix;
  uint8_t* out = pixels.data;
  for (int row = 0; row < pixels.height; ++row) {
    const double y = row + 0.5;
    for (int column = 0; column < pixels.width; ++column, out += 3) {
      const double x = column + 0.5;
      const double source_x = a * x + b * y + c, source_y = d * x + e * y + f;
      if (!source.contains(source_x, source_y)) {
        std::memcpy(out, fill.data(), 3);
      } else if (interpolation == Interpolation::bilinear) {
        source.bilinear(source_x, source_y, out);
      } else {
        source.bicubic(source_x, source_y, out);
      }
    }
  }
}

void rotate(const Pixels& pixels, double degrees, Interpolation interpolation, const Colour& fill) {
  const int width = pixels.width, height = pixels.height;
  double turn = std::fmod(degrees, 360.0);
  if (turn < 0) turn += 360.0;
  if (turn == 0) return;
  if (turn == 180) return permute(pixels, [&](int x, int y) { return (height - 1 - y) * width + width - 1 - x; });
  if (turn == 90 && width == height) return permute(pixels, [&](int x, int y) { return x * width + width - 1 - y; });
  if (turn == 270 && width == height) return permute(pixels, [&](int x, int y) { return (width - 1 - x) * width + y; });
  const double angle = -(turn * kDegree), cosine = round_15(std::cos(angle)), sine = round_15(std::sin(angle));
  const double minus_sine = round_15(-std::sin(angle)), x = width / 2.0, y = height / 2.0;
  apply_affine(
      pixels,
      {cosine, sine, cosine * -x + sine * -y + 0.0 + x, minus_sine, cosine, minus_sine * -x + cosine * -y + 0.0 + y},
      interpolation, fill);
}

}  // namespace engine
