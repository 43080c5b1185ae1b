#include "engine/train/grad_cam.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/autograd.h"
#include "engine/error.h"

namespace engine {
namespace {

constexpr float kUnseen = 0.35f;   // brightness of what the network did not see
constexpr float kOpacity = 0.75f;  // of the hottest place

// [N,K] with a one in each row, at its class.
Tensor one_hot(std::span<const int64_t> classes, const Tensor& logits) {
  const int64_t k = logits.size(1);
  std::vector<float> rows(static_cast<size_t>(logits.numel()), 0.0f);
  for (size_t i = 0; i < classes.size(); ++i) {
    check(classes[i] >= 0 && classes[i] < k, "grad_cam: class ", classes[i], ", but the network has 0 to ", k - 1);
    rows[i * static_cast<size_t>(k) + static_cast<size_t>(classes[i])] = 1;
  }
  return Tensor::from(rows, logits.shape(), logits.device()).to(logits.dtype());
}

std::vector<float> on_host(const Tensor& x) {
  return x.to(Device{}).to(DType::f32).to_vector<float>();
}

// x as a place between two of `count`, and how far it is from the first: without steps at the edges.
struct Between {
  int64_t first, second;
  float share;
};
Between between(double x, int64_t count) {
  x = std::clamp(x, 0.0, static_cast<double>(count - 1));
  const auto first = static_cast<int64_t>(x);
  return {first, std::min(first + 1, count - 1), static_cast<float>(x - static_cast<double>(first))};
}

float value_at(const HeatMap& map, const Between& row, const Between& column) {
  const auto at = [&](int64_t y, int64_t x) { return map.values[static_cast<size_t>(y * map.width + x)]; };
  const float top = std::lerp(at(row.first, column.first), at(row.first, column.second), column.share);
  const float bottom = std::lerp(at(row.second, column.first), at(row.second, column.second), column.share);
  return std::lerp(top, bottom, row.share);
}

// Black at 0, dark red, orange, light yellow at 1: brighter throughout, so that it reads in gray, too.
std::array<float, 3> heat_colour(float heat) {
  static constexpr std::array<std::array<float, 3>, 4> kStops = {
      {{0, 0, 0}, {170, 20, 40}, {250, 130, 10}, {255, 245, 150}}};
  const Between place = between(heat * 3.0, 4);
  std::array<float, 3> colour{};
  for (size_t c = 0; c < 3; ++c) {
    colour[c] = std::lerp(kStops[static_cast<size_t>(place.first)][c], kStops[static_cast<size_t>(place.second)][c],
                          place.share);
  }
  return colour;
}

}  // namespace

std::vector<HeatMap> grad_cam(const Tensor& features, const std::function<Tensor(const Tensor&)>& head,
                              std::span<const int64_t> classes) {
  check(features.shape().rank() == 4 && features.size(0) == static_cast<int64_t>(classes.size()), "grad_cam: features ",
        features.shape(), " for ", classes.size(), " classes, expected [N,h,w,C] with one picture a class");
  Tensor leaf = features.detach();
  leaf.set_requires_grad(true);
  const Tensor logits = head(leaf);
  logits.backward(one_hot(classes, logits));
  const std::vector<float> a = on_host(features), da = on_host(leaf.grad());

  const int64_t h = features.size(1), w = features.size(2);
  const auto places = static_cast<size_t>(h * w), channels = static_cast<size_t>(features.size(3));
  std::vector<HeatMap> maps;
  for (size_t n = 0; n < classes.size(); ++n) {
    const size_t begin = n * places * channels;
    std::vector<double> weights(channels, 0.0);
    for (size_t i = 0; i < places * channels; ++i) weights[i % channels] += da[begin + i];
    HeatMap& map = maps.emplace_back(HeatMap{.height = h, .width = w, .values = {}});
    for (size_t place = 0; place < places; ++place) {
      double sum = 0;
      for (size_t c = 0; c < channels; ++c) sum += weights[c] * a[begin + place * channels + c];
      map.values.push_back(static_cast<float>(std::max(0.0, sum / static_cast<double>(places))));
    }
  }
  return maps;
}

Image draw_heat(const ImageView& picture, const EvalWindow& seen, const HeatMap& map) {
  const float hottest = std::max(*std::max_element(map.values.begin(), map.values.end()), 1e-30f);
  Image result{picture.width, picture.height, {}};
  result.pixels.reserve(static_cast<size_t>(picture.width) * static_cast<size_t>(picture.height) * 3);
  for (int y = 0; y < picture.height; ++y) {
    // The middle of a pixel, in the window: 0 to 1 if the network saw it.
    const double v = ((y + 0.5) * seen.height / picture.height - seen.window.y) / seen.window.height;
    const Between row = between(v * static_cast<double>(map.height) - 0.5, map.height);
    for (int x = 0; x < picture.width; ++x) {
      const double u = ((x + 0.5) * seen.width / picture.width - seen.window.x) / seen.window.width;
      const uint8_t* pixel = picture.pixels + y * picture.stride + ptrdiff_t{3} * x;
      const bool inside = u >= 0 && u <= 1 && v >= 0 && v <= 1;
      float heat = 0;
      if (inside) {
        heat = value_at(map, row, between(u * static_cast<double>(map.width) - 0.5, map.width)) / hottest;
      }
      const std::array<float, 3> colour = heat_colour(heat);
      for (size_t c = 0; c < 3; ++c) {
        const float mixed = inside ? std::lerp(static_cast<float>(pixel[c]), colour[c], kOpacity * heat)
                                   : kUnseen * static_cast<float>(pixel[c]);
        result.pixels.push_back(static_cast<uint8_t>(std::lround(mixed)));
      }
    }
  }
  return result;
}

}  // namespace engine
