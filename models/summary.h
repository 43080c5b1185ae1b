#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/shape.h"
#include "models/resnet.h"

namespace engine::models {

struct LayerSummary {
  std::string name;  // "layer1.0.conv1"
  std::string kind;  // "conv 3x3/2", "batch norm", "max pool 3x3/2", ...
  Shape output;      // [N,P,Q,K]
  int64_t parameters = 0;
  int64_t macs = 0;  // multiply-adds of convolutions and the linear layer for the whole batch; the rest is not counted
};

struct Summary {
  std::vector<LayerSummary> layers;
  int64_t parameters = 0;  // trained ones
  int64_t buffers = 0;     // running statistics, without the batch counters
  int64_t macs = 0;
};

// What the layers of `net` would give for images [batch,height,width,3], computed from shapes alone.
Summary summarize(ResNet& net, int64_t batch, int64_t height, int64_t width);

// As a table: name, kind, output shape, parameters, MACs, and the totals.
std::string to_string(const Summary& summary);

}  // namespace engine::models
