#include "engine/data/pixel_ops.h"

#include <algorithm>
#include <vector>

namespace engine {
namespace {

using Table = std::array<uint8_t, 256>;
using Histogram = std::array<int64_t, 256>;

uint8_t clip(int value) {
  return static_cast<uint8_t>(std::clamp(value, 0, 255));
}

// Pillow's Image.blend, whose arithmetic is in single precision and cuts off what follows the point.
uint8_t blend(int degenerate, int value, float factor) {
  const float result = static_cast<float>(degenerate) + factor * static_cast<float>(value - degenerate);
  return result <= 0 ? 0 : result >= 255 ? 255 : static_cast<uint8_t>(result);
}

Table make_table(const auto& value_of) {
  Table table;
  for (int i = 0; i < 256; ++i) table[static_cast<size_t>(i)] = value_of(i);
  return table;
}

void look_up(const Pixels& pixels, const Table& table) {
  for (size_t i = 0; i < pixels.bytes(); ++i) pixels.data[i] = table[pixels.data[i]];
}

void look_up(const Pixels& pixels, const std::array<Table, 3>& tables) {
  for (size_t i = 0; i < pixels.bytes(); i += 3)
    for (size_t c = 0; c < 3; ++c) pixels.data[i + c] = tables[c][pixels.data[i + c]];
}

std::array<Histogram, 3> histograms(const Pixels& pixels) {
  std::array<Histogram, 3> counts{};
  for (size_t i = 0; i < pixels.bytes(); i += 3)
    for (size_t c = 0; c < 3; ++c) ++counts[c][pixels.data[i + c]];
  return counts;
}

// ITU-R 601-2, in 16.16 fixed point.
uint8_t luminance(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

struct Hsv {
  uint8_t h, s, v;
};

// A. R. Smith, "Color gamut transform pairs", SIGGRAPH 1978, with 8 bits for each number.
Hsv to_hsv(const uint8_t* rgb) {
  const uint8_t largest = std::max({rgb[0], rgb[1], rgb[2]}), smallest = std::min({rgb[0], rgb[1], rgb[2]});
  if (largest == smallest) return {0, 0, largest};
  const auto range = static_cast<float>(largest - smallest);
  const float saturation = range / static_cast<float>(largest);
  const auto below = [&](int c) { return static_cast<float>(largest - rgb[c]) / range; };
  const float red = below(0), green = below(1), blue = below(2);
  float hue;
  if (rgb[0] == largest) {
    hue = blue - green;
  } else if (rgb[1] == largest) {
    hue = static_cast<float>(2.0 + red - blue);
  } else {
    hue = static_cast<float>(4.0 + green - red);
  }
  const double turns = hue / 6.0 + 1.0;  // 5/6 ... 11/6
  hue = static_cast<float>(turns >= 1.0 ? turns - 1.0 : turns);
  return {clip(static_cast<int>(hue * 255.0)), clip(static_cast<int>(saturation * 255.0)), largest};
}

void to_rgb(const Hsv& hsv, uint8_t* rgb) {
  const uint8_t v = hsv.v;
  if (hsv.s == 0) {
    rgb[0] = rgb[1] = rgb[2] = v;
    return;
  }
  const double sixths = static_cast<float>(hsv.h) * 6.0 / 255.0;
  const int sector = static_cast<int>(sixths);
  const auto rest = static_cast<float>(sixths - static_cast<float>(sector));
  const auto saturation = static_cast<float>(static_cast<float>(hsv.s) / 255.0);
  const auto scaled = [&](double share) {
    const double value = static_cast<float>(v) * share;  // not below 0
    const int whole = static_cast<int>(value);
    return clip(value - whole >= 0.5 ? whole + 1 : whole);  // std::round, which is a call for the oldest processors
  };
  const uint8_t p = scaled(1.0 - saturation);
  const uint8_t q = scaled(1.0 - static_cast<double>(saturation * rest));
  const uint8_t t = scaled(1.0 - saturation * (1.0 - rest));
  const std::array<std::array<uint8_t, 3>, 6> sectors = {
      {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}}};
  std::ranges::copy(sectors[static_cast<size_t>(sector % 6)], rgb);
}

}  // namespace

void adjust_brightness(const Pixels& pixels, double factor) {
  look_up(pixels, make_table([f = static_cast<float>(factor)](int v) { return blend(0, v, f); }));
}

void adjust_contrast(const Pixels& pixels, double factor) {
  int64_t sum = 0;
  for (size_t i = 0; i < pixels.bytes(); i += 3) sum += luminance(pixels.data + i);
  const int mean = static_cast<int>(static_cast<double>(sum) / static_cast<double>(pixels.count()) + 0.5);
  look_up(pixels, make_table([&, f = static_cast<float>(factor)](int v) { return blend(mean, v, f); }));
}

void adjust_saturation(const Pixels& pixels, double factor) {
  const auto f = static_cast<float>(factor);
  for (size_t i = 0; i < pixels.bytes(); i += 3) {
    const uint8_t gray = luminance(pixels.data + i);
    for (size_t c = 0; c < 3; ++c) pixels.data[i + c] = blend(gray, pixels.data[i + c], f);
  }
}

// Weights 5/13 in the middle, 1/13 around: added in Pillow's order, row below, row, row above, in single precision.
void adjust_sharpness(const Pixels& pixels, double factor) {
  if (pixels.width < 3 || pixels.height < 3) return;
  constexpr float kEdge = 1.0f / 13.0f, kMiddle = 5.0f / 13.0f;
  const auto f = static_cast<float>(factor);
  const size_t row_bytes = 3 * static_cast<size_t>(pixels.width);
  std::vector<uint8_t> above(pixels.data, pixels.data + row_bytes), row(row_bytes);
  for (int y = 1; y < pixels.height - 1; ++y) {
    uint8_t* out = pixels.data + static_cast<size_t>(y) * row_bytes;
    const uint8_t* below = out + row_bytes;
    std::copy(out, out + row_bytes, row.begin());
    for (size_t i = 3; i < row_bytes - 3; ++i) {
      const auto sum = [i](const uint8_t* line, float middle) {
        return static_cast<float>(line[i - 3]) * kEdge + static_cast<float>(line[i]) * middle +
               static_cast<float>(line[i + 3]) * kEdge;
      };
      float smooth = 0.5f;
      smooth += sum(below, kEdge);
      smooth += sum(row.data(), kMiddle);
      smooth += sum(above.data(), kEdge);
      out[i] = blend(static_cast<int>(smooth), row[i], f);
    }
    above.swap(row);
  }
}

void adjust_hue(const Pixels& pixels, double shift) {
  const auto turn = static_cast<uint8_t>(static_cast<int32_t>(shift * 255));
  for (size_t i = 0; i < pixels.bytes(); i += 3) {
    Hsv hsv = to_hsv(pixels.data + i);
    hsv.h = static_cast<uint8_t>(hsv.h + turn);
    to_rgb(hsv, pixels.data + i);
  }
}

void posterize(const Pixels& pixels, int bits) {
  const int mask = ~((1 << (8 - bits)) - 1);
  look_up(pixels, make_table([&](int v) { return static_cast<uint8_t>(v & mask); }));
}

void solarize(const Pixels& pixels, double threshold) {
  look_up(pixels, make_table([&](int v) { return static_cast<uint8_t>(v < threshold ? v : 255 - v); }));
}

void solarize_add(const Pixels& pixels, int amount) {
  look_up(pixels, make_table([&](int v) { return v < 128 ? clip(v + amount) : static_cast<uint8_t>(v); }));
}

void auto_contrast(const Pixels& pixels) {
  const std::array<Histogram, 3> counts = histograms(pixels);
  std::array<Table, 3> tables;
  for (size_t c = 0; c < 3; ++c) {
    int low = 0, high = 255;
    while (low < 255 && counts[c][static_cast<size_t>(low)] == 0) ++low;
    while (high > 0 && counts[c][static_cast<size_t>(high)] == 0) --high;
    const double scale = high > low ? 255.0 / (high - low) : 1, offset = high > low ? -low * scale : 0;
    tables[c] = make_table([&](int v) { return clip(static_cast<int>(v * scale + offset)); });
  }
  look_up(pixels, tables);
}

void equalize(const Pixels& pixels) {
  const std::array<Histogram, 3> counts = histograms(pixels);
  std::array<Table, 3> tables;
  for (size_t c = 0; c < 3; ++c) {
    int64_t last = 0;  // of the brightest value that occurs
    for (const int64_t count : counts[c])
      if (count != 0) last = count;
    // Where one value alone occurs, the step is 0.
    const int64_t step = (static_cast<int64_t>(pixels.count()) - last) / 255;
    int64_t sum = step / 2;
    tables[c] = make_table([&](int v) {
      if (step == 0) return static_cast<uint8_t>(v);
      const auto value = static_cast<uint8_t>(std::min<int64_t>(sum / step, 255));
      sum += counts[c][static_cast<size_t>(v)];
      return value;
    });
  }
  look_up(pixels, tables);
}

void invert(const Pixels& pixels) {
  for (size_t i = 0; i < pixels.bytes(); ++i) pixels.data[i] = static_cast<uint8_t>(255 - pixels.data[i]);
}

}  // namespace engine
