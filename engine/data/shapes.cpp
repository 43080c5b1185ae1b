#include "engine/data/shapes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <sstream>
#include <utility>

#include "engine/error.h"
#include "engine/random.h"

namespace engine {
namespace {

constexpr int kSize = 32;
constexpr float kPi = std::numbers::pi_v<float>;

enum Kind : int { kCircle, kSquare, kTriangle, kStar, kCross, kCrescent, kArrow, kStripes, kChecker, kDots };
const std::vector<std::string> kNames = {"circle",   "square", "triangle", "star",    "cross",
                                         "crescent", "arrow",  "stripes",  "checker", "dots"};

struct Point {
  float x = 0, y = 0;
};
struct Colour {
  float r = 0, g = 0, b = 0;
};

float luminance(Colour c) {
  return 0.299f * c.r + 0.587f * c.g + 0.114f * c.b;
}
Colour mix(Colour a, Colour b, float t) {
  return {a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

Colour random_colour(RandomStream& random) {
  return {random.uniform(0, 255), random.uniform(0, 255), random.uniform(0, 255)};
}

// A colour that is told from `other` on a black-and-white screen too.
Colour contrasting_colour(RandomStream& random, Colour other, float difference) {
  Colour colour;
  do {
    colour = random_colour(random);
  } while (std::abs(luminance(colour) - luminance(other)) < difference);
  return colour;
}

// The corners of the outlines, in a frame where the object fits the unit circle.
template <size_t N>
using Corners = std::array<Point, N>;

template <size_t N>
Corners<N> regular(std::array<float, N> radii) {
  Corners<N> corners;
  for (size_t i = 0; i < N; ++i) {
    const float angle = 2 * kPi * static_cast<float>(i) / N;
    corners[i] = {radii[i] * std::sin(angle), -radii[i] * std::cos(angle)};
  }
  return corners;
}

const Corners<4> kSquareCorners = {{{-0.75f, -0.75f}, {0.75f, -0.75f}, {0.75f, 0.75f}, {-0.75f, 0.75f}}};
const Corners<3> kTriangleCorners = regular<3>({1, 1, 1});
const Corners<10> kStarCorners = regular<10>({1, 0.42f, 1, 0.42f, 1, 0.42f, 1, 0.42f, 1, 0.42f});
const Corners<12> kCrossCorners = {{{-0.3f, -0.95f},
                                    {0.3f, -0.95f},
                                    {0.3f, -0.3f},
                                    {0.95f, -0.3f},
                                    {0.95f, 0.3f},
                                    {0.3f, 0.3f},
                                    {0.3f, 0.95f},
                                    {-0.3f, 0.95f},
                                    {-0.3f, 0.3f},
                                    {-0.95f, 0.3f},
                                    {-0.95f, -0.3f},
                                    {-0.3f, -0.3f}}};
const Corners<7> kArrowCorners = {
    {{0, -1}, {0.75f, -0.1f}, {0.27f, -0.1f}, {0.27f, 0.95f}, {-0.27f, 0.95f}, {-0.27f, -0.1f}, {-0.75f, -0.1f}}};

// Signed distance from a polygon, negative inside: the nearest edge gives the distance, the parity of the
// edges crossed by a ray gives the sign.
template <size_t N>
float polygon_distance(const Corners<N>& corners, Point p) {
  float nearest = 1e9f;
  bool inside = false;
  for (size_t i = 0, j = N - 1; i < N; j = i++) {
    const Point a = corners[j], b = corners[i];
    const float ex = b.x - a.x, ey = b.y - a.y, px = p.x - a.x, py = p.y - a.y;
    const float along = std::clamp((px * ex + py * ey) / (ex * ex + ey * ey), 0.0f, 1.0f);
    const float dx = px - ex * along, dy = py - ey * along;
    nearest = std::min(nearest, dx * dx + dy * dy);
    if ((b.y > p.y) != (a.y > p.y) && p.x < b.x + (p.y - b.y) * (a.x - b.x) / (a.y - b.y)) inside = !inside;
  }
  return inside ? -std::sqrt(nearest) : std::sqrt(nearest);
}

float outline_distance(Kind kind, Point p) {
  switch (kind) {
    case kSquare:
      return polygon_distance(kSquareCorners, p);
    case kTriangle:
      return polygon_distance(kTriangleCorners, p);
    case kStar:
      return polygon_distance(kStarCorners, p);
    case kCross:
      return polygon_distance(kCrossCorners, p);
    case kArrow:
      return polygon_distance(kArrowCorners, p);
    case kCrescent:
      return std::max(std::hypot(p.x, p.y) - 1, 0.85f - std::hypot(p.x - 0.5f, p.y));
    default:
      return std::hypot(p.x, p.y) - 0.9f;
  }
}

// Distance to the nearest line of a family with the given period, negative on the dark half.
float wave(float x, float period) {
  const float t = x / period - std::floor(x / period);
  return (std::abs(t - 0.5f) - 0.25f) * period;
}

float texture_distance(Kind kind, Point p, float period) {
  if (kind == kStripes) return wave(p.x, period);
  if (kind == kChecker) {
    const float x = wave(p.x, period), y = wave(p.y, period);
    const float nearest = std::min(std::abs(x), std::abs(y));
    return (x < 0) == (y < 0) ? -nearest : nearest;
  }
  const float x = p.x - period * std::round(p.x / period), y = p.y - period * std::round(p.y / period);
  return std::hypot(x, y) - 0.3f * period;
}

class Canvas {
 public:
  Canvas(Colour corner, Colour opposite, float angle) {
    const float dx = std::cos(angle) / kSize, dy = std::sin(angle) / kSize;
    for (int y = 0; y < kSize; ++y) {
      for (int x = 0; x < kSize; ++x) {
        const float t = 0.5f + dx * (static_cast<float>(x) - kSize / 2) + dy * (static_cast<float>(y) - kSize / 2);
        at(x, y) = mix(corner, opposite, std::clamp(t, 0.0f, 1.0f));
      }
    }
  }

  // Blends `colour(x, y)` into the pixels within `reach` of `centre`, each by the part of it that is inside:
  // distance(x, y) is the distance in pixels from the edge, negative inside.
  template <class Distance, class Paint>
  void paint(Point centre, float reach, float opacity, const Distance& distance, const Paint& colour) {
    const auto low = [&](float c) { return std::max(0, static_cast<int>(std::floor(c - reach - 1))); };
    const auto high = [&](float c) { return std::min(kSize - 1, static_cast<int>(std::ceil(c + reach + 1))); };
    for (int y = low(centre.y); y <= high(centre.y); ++y) {
      for (int x = low(centre.x); x <= high(centre.x); ++x) {
        const Point p{static_cast<float>(x) + 0.5f - centre.x, static_cast<float>(y) + 0.5f - centre.y};
        const float inside = std::clamp(0.5f - distance(p), 0.0f, 1.0f);
        if (inside > 0) at(x, y) = mix(at(x, y), colour(p), inside * opacity);
      }
    }
  }

  // Three bytes of each random number make the noise of one pixel's three channels: flat, and wide enough
  // that no colour is exact.
  Image finish(RandomStream& random, float noise) const {
    Image image;
    image.width = image.height = kSize;
    image.pixels.resize(kSize * kSize * 3);
    uint8_t* out = image.pixels.data();
    for (const Colour& c : pixels_) {
      const uint32_t bits = random.next_u32();
      const auto level = [&](float value, int shift) {
        const float jitter = (static_cast<float>(bits >> shift & 255) - 127.5f) * (noise / 127.5f);
        return static_cast<uint8_t>(std::clamp(value + jitter + 0.5f, 0.0f, 255.0f));
      };
      *out++ = level(c.r, 0);
      *out++ = level(c.g, 8);
      *out++ = level(c.b, 16);
    }
    return image;
  }

 private:
  Colour& at(int x, int y) { return pixels_[static_cast<size_t>(y * kSize + x)]; }

  std::array<Colour, kSize * kSize> pixels_;
};

void draw_line(Canvas& canvas, RandomStream& random, Colour colour, float opacity) {
  const Point middle{random.uniform(0, kSize), random.uniform(0, kSize)};
  const float angle = random.uniform(0, kPi), half = random.uniform(4, 14), width = random.uniform(0.4f, 1.0f);
  const float c = std::cos(angle), s = std::sin(angle);
  canvas.paint(
      middle, half + width, opacity,
      [&](Point p) {
        const float along = std::clamp(p.x * c + p.y * s, -half, half);
        return std::hypot(p.x - along * c, p.y - along * s) - width;
      },
      [&](Point) { return colour; });
}

void draw_blob(Canvas& canvas, RandomStream& random, Colour colour) {
  const Point middle{random.uniform(0, kSize), random.uniform(0, kSize)};
  const float a = random.uniform(1, 3), b = random.uniform(1, 3);
  canvas.paint(
      middle, std::max(a, b), 0.8f, [&](Point p) { return (std::hypot(p.x / a, p.y / b) - 1) * std::min(a, b); },
      [&](Point) { return colour; });
}

void draw_object(Canvas& canvas, RandomStream& random, Kind kind, Colour background) {
  const bool textured = kind >= kStripes;
  const float radius = random.uniform(textured ? 7.5f : 5.5f, 12);  // a texture needs room for a few periods
  const float stretch = std::exp(random.uniform(-0.3f, 0.3f));
  const float width = radius * std::sqrt(stretch), height = radius / std::sqrt(stretch);
  const float reach = std::max(width, height) * 1.1f;
  const Point centre{random.uniform(radius, kSize - radius), random.uniform(radius, kSize - radius)};
  const float angle = random.uniform(0, 2 * kPi), c = std::cos(angle), s = std::sin(angle);
  const auto local = [&](Point p) { return Point{(p.x * c + p.y * s) / width, (p.y * c - p.x * s) / height}; };
  const float unit = std::min(width, height);  // pixels per local unit, rounded down so that edges stay soft

  const Colour colour = contrasting_colour(random, background, 35);
  if (textured) {
    constexpr std::array<Kind, 3> kCarriers = {kCircle, kSquare, kTriangle};
    const Kind carrier = kCarriers[random.below(3)];
    const Colour second = contrasting_colour(random, colour, 50);
    const float period = random.uniform(4.5f, 7.5f), shift_x = random.uniform(0, 8), shift_y = random.uniform(0, 8);
    const float turn = random.uniform(0, kPi), tc = std::cos(turn), ts = std::sin(turn);
    canvas.paint(
        centre, reach, 1, [&](Point p) { return outline_distance(carrier, local(p)) * unit; },
        [&](Point p) {
          const Point q{p.x * tc + p.y * ts + shift_x, p.y * tc - p.x * ts + shift_y};
          return mix(second, colour, std::clamp(0.5f - texture_distance(kind, q, period), 0.0f, 1.0f));
        });
    return;
  }
  const bool filled = random.below(2) == 0;
  const float pen = random.uniform(0.7f, 1.3f);
  canvas.paint(
      centre, reach, 1,
      [&](Point p) {
        const float edge = outline_distance(kind, local(p)) * unit;
        return filled ? edge : std::abs(edge) - pen;
      },
      [&](Point) { return colour; });
}

Image draw(Kind kind, RandomStream& random) {
  const Colour background = random_colour(random);
  const Colour opposite = mix(background, random_colour(random), 0.35f);
  Canvas canvas(background, opposite, random.uniform(0, 2 * kPi));
  const Colour middle = mix(background, opposite, 0.5f);
  const uint32_t lines = random.below(4), blobs = random.below(5);
  for (uint32_t i = 0; i < lines; ++i) draw_line(canvas, random, mix(middle, random_colour(random), 0.6f), 0.8f);
  for (uint32_t i = 0; i < blobs; ++i) draw_blob(canvas, random, mix(middle, random_colour(random), 0.6f));
  draw_object(canvas, random, kind, middle);
  if (random.below(2) == 0) draw_line(canvas, random, random_colour(random), 0.7f);
  return canvas.finish(random, random.uniform(6, 44));
}

class Shapes : public Dataset {
 public:
  Shapes(int64_t size, uint64_t seed, uint32_t use) : size_(size), seed_(seed), use_(use) {}

  int64_t size() const override { return size_; }
  const std::vector<std::string>& class_names() const override { return kNames; }
  int64_t label(int64_t index) const override { return index % static_cast<int64_t>(kNames.size()); }
  Image load(int64_t index) const override {
    RandomStream random(seed_, 0, static_cast<uint64_t>(index), use_);
    return draw(static_cast<Kind>(label(index)), random);
  }
  std::string describe(int64_t index) const override {
    std::ostringstream text;
    text << "shapes " << (use_ == purpose::kShapesTrain ? "train" : "val") << " picture " << index;
    return text.str();
  }

 private:
  int64_t size_;
  uint64_t seed_;
  uint32_t use_;
};

}  // namespace

DatasetPair open_shapes(const ShapesOptions& options) {
  const int64_t least = std::min(options.train_size, options.val_size);
  check(least >= 10, "shapes: ", least, " pictures cannot show 10 classes; ask for 10 or more");
  const auto part = [&](int64_t size, uint32_t use) {
    return keep_in_memory(std::make_shared<Shapes>(size, options.seed, use), kSize * kSize * 3);
  };
  std::ostringstream summary;
  summary << "shapes, drawn by code: " << options.train_size << " training and " << options.val_size
          << " validation pictures, 10 classes, 32x32";
  return {.train = part(options.train_size, purpose::kShapesTrain),
          .val = part(options.val_size, purpose::kShapesVal),
          .summary = summary.str()};
}

}  // namespace engine
