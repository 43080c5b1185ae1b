#pragma once
// How fast a step could be: every kernel that it would consist of, with what that must at least compute and move. The
// floor of a kernel is max(flops / rate, bytes / bandwidth), the floor of a step the sum over its kernels.
//
// What a net is compared with: in training Regime::epilogues, the fusions that this engine has kernels for; in
// inference everything in the convolutions' epilogues. On every device alike, so that the CPU, which fuses less, sees
// what that costs. (A row of the per-layer table is compared with the floor of its own operation instead, as executed.)
// There are no caches in the model, each tensor is counted each time; convolutions are counted in the direct algorithm.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/ceilings.h"
#include "bench/step_workload.h"
#include "models/resnet.h"

namespace engine::bench {

struct RooflineConv {
  std::string name;
  kernels::Conv2dShape shape;
  bool bias = false;
  double x = 0, used_x = 0, w = 0, y = 0;  // elements; a strided 1x1 uses some of its input's pixels only
  double flops() const { return 2 * static_cast<double>(shape.macs()); }
};

struct RooflineBlock {
  std::string name;
  std::vector<RooflineConv> convs;
  std::optional<RooflineConv> projection;
  models::BlockSpec::Shortcut shortcut = models::BlockSpec::Shortcut::identity;
};

struct RooflineNet {
  double batch = 0, pixels = 0;  // of the images
  RooflineConv stem;
  double pooled = 0;  // elements behind the stem's max pool; 0: there is none
  std::vector<RooflineBlock> blocks;
  double features = 0, classes = 0, parameters = 0;
};

// Every member of the family. The images are counted with four channels, which is what aligned loads need.
RooflineNet roofline_net(const models::ResNet& net, int64_t batch, int64_t image_size);

// What is fused, each including the ones before it.
enum class Regime : uint8_t {
  unfused,             // convolution, statistics, normalisation, ReLU, addition, each gradient: a pass of its own
  fused_norm,          // batch norm + ReLU + addition: a pass for the statistics and one to apply them
  epilogues,           // statistics in the convolution's epilogue; the gradient's shortcut, ReLU and sums in dgrad's;
                       // batch norm + ReLU + max pool in one pass; the optimiser in one pass that also rounds weights
  prologues,           // the normalised activation is made in the next convolution's prologue, never stored
  gradient_prologues,  // and so is the gradient of the batch norm's input, stored once for wgrad
};
const char* name_of(Regime regime);

struct RooflineKernel {
  std::string name;
  bool backward = false;
  OpCost cost;
};

// One training step on images of bytes, weights kept in f32; `dtype` of the activations.
std::vector<RooflineKernel> training_kernels(const RooflineNet& net, Regime regime, DType dtype);
// One pass on images in `dtype`, batch norm, ReLU and shortcut in the epilogues, the max pool a pass.
std::vector<RooflineKernel> inference_kernels(const RooflineNet& net, DType dtype);

double floor_seconds(const std::vector<RooflineKernel>& kernels, const Ceilings& ceilings);

struct StepFloor {
  double seconds = 0, flops = 0, bytes = 0;
  const char* regime = "";  // "epilogues", "inference"
};
// What this engine's step is compared with, see above.
StepFloor step_floor(const models::ResNet& net, int64_t batch, int64_t image_size, DType dtype, Mode mode,
                     const Ceilings& ceilings);

}  // namespace engine::bench
