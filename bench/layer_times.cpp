#include "bench/layer_times.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>

#include <nlohmann/json.hpp>

#include "bench/net_convolutions.h"
#include "engine/backend.h"
#include "engine/cpu/conv_plan.h"
#include "engine/random.h"

namespace engine::bench {
namespace {

using kernels::Conv2dShape;

class Case {
 public:
  Case(const Conv2dShape& shape, DType precision)
      : shape_(shape),
        x_(activation({shape.n, shape.h, shape.w, shape.c}, precision)),
        y_(activation({shape.n, shape.p(), shape.q(), shape.k}, precision)),
        w_(noise({shape.k, shape.r, shape.s, shape.c / shape.groups})),
        dw_(Tensor::zeros(w_.shape())),
        ones_(Tensor::full({shape.k}, 1.0)),
        zeros_(Tensor::zeros({shape.k})) {}

  void run(Direction direction) {
    Backend& cpu = backend({});
    if (direction != Direction::inference) w_.storage().bump_version();
    switch (direction) {
      case Direction::forward:
        return cpu.conv_forward(shape_, x_, w_, {}, y_);
      case Direction::backward_data:
        return cpu.conv_backward_data(shape_, y_, w_, x_);
      case Direction::backward_weights:
        return cpu.conv_backward_weights(shape_, x_, y_, dw_, {});
      case Direction::inference:
        return cpu.conv_inference({.shape = shape_,
                                   .x = x_,
                                   .w = w_,
                                   .gamma = ones_,
                                   .beta = zeros_,
                                   .running_mean = zeros_,
                                   .running_var = ones_,
                                   .relu = true,
                                   .y = y_});
    }
  }

  // As the backend's exported plans spell this case.
  std::string problem(Direction direction) const {
    using cpu::ConvDirection;
    const bool inference = direction == Direction::inference;  // the folded batch norm is a bias there
    return cpu::ConvProblem{
        .direction = std::array{ConvDirection::forward, ConvDirection::backward_data, ConvDirection::backward_weights,
                                ConvDirection::inference}[static_cast<size_t>(direction)],
        .shape = shape_,
        .dtype = x_.dtype(),
        .x = layout_of(x_),
        .y = layout_of(y_),
        .bias = inference,
        .relu = inference}
        .text();
  }

 private:
  static Tensor noise(const Shape& shape) {
    RandomStream random(2, 0, 0, purpose::kAugmentation);
    std::array<float, 4093> sample;  // repeated: a prime number of values, so that no row equals its neighbour
    for (float& value : sample) value = random.normal();
    std::vector<float> values(static_cast<size_t>(shape.numel()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = sample[i % sample.size()];
    return Tensor::from(values, shape);
  }
  static Tensor activation(const Shape& shape, DType precision) {
    Tensor result = make_activation(shape, precision, {});
    backend({}).convert(noise(shape), result);
    return result;
  }

  Conv2dShape shape_;
  Tensor x_, y_, w_, dw_, ones_, zeros_;
};

double median_seconds(const std::function<void()>& run, double budget) {
  run();
  std::vector<double> times;
  for (double spent = 0; times.size() < 3 || spent < budget; spent += times.back()) {
    const auto start = std::chrono::steady_clock::now();
    run();
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

}  // namespace

const char* name_of(Direction direction) {
  return std::array{"forward", "backward_data", "backward_weights", "inference"}[static_cast<size_t>(direction)];
}

std::vector<LayerTime> measure_layers(const models::ResNet& net, const LayerTimesOptions& options) {
  std::vector<LayerTime> times;
  for (const NetConvolution& layer : distinct_convolutions(net, options.batch, options.image_size)) {
    Case conv(layer.shape, options.precision);
    std::vector<Direction> directions = {Direction::inference};
    if (options.training) {
      directions = {Direction::forward, Direction::backward_weights};
      if (layer.shape.c != 3) directions.push_back(Direction::backward_data);  // nobody needs that of the images
    }
    for (const Direction direction : directions) {
      LayerTime& time = times.emplace_back();
      time = {.shape = layer.shape, .layers = layer.layers, .direction = direction, .implementation = {}};
      time.seconds = median_seconds([&] { conv.run(direction); }, options.seconds_per_case);
      const auto plans = nlohmann::json::parse(backend({}).export_plans()).at("plans");
      time.implementation = plans.value(conv.problem(direction), std::string());
    }
  }
  return times;
}

}  // namespace engine::bench
