#pragma once
// The time of every convolution of a ResNet by itself, through the backend's table.
#include <cstdint>
#include <string>
#include <vector>

#include "engine/dtype.h"
#include "kernels/types.h"
#include "models/resnet.h"

namespace engine::bench {

enum class Direction : uint8_t { forward, backward_data, backward_weights, inference };
const char* name_of(Direction direction);

struct LayerTime {
  kernels::Conv2dShape shape;
  std::vector<std::string> layers;  // those of the net with this shape
  Direction direction = Direction::forward;
  double seconds = 0;          // of one layer: the median
  std::string implementation;  // that the CPU backend chose; empty if it kept none
  double gflop_per_s() const { return 2e-9 * static_cast<double>(shape.macs()) / seconds; }
};

struct LayerTimesOptions {
  int64_t batch = 32, image_size = 224;
  DType precision = DType::f32;
  bool training = true;           // forward and both backward directions; otherwise inference with batch norm folded
  double seconds_per_case = 0.3;  // but at least three runs, after one that chooses the implementation
};

// Operands come in the layout that the backend prefers and hold random numbers; before each run in training the filters
// count as changed, as after an SGD step, so that preparing them is part of the time.
std::vector<LayerTime> measure_layers(const models::ResNet& net, const LayerTimesOptions& options);

}  // namespace engine::bench
