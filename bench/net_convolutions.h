#pragma once
// The convolutions of a ResNet as shapes.
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/types.h"
#include "models/resnet.h"

namespace engine::bench {

struct NetConvolution {
  kernels::Conv2dShape shape;
  std::vector<std::string> layers;  // those of the net with this shape, in the order of the forward pass
};

// Each distinct one, in the order of the forward pass.
std::vector<NetConvolution> distinct_convolutions(const models::ResNet& net, int64_t batch, int64_t image_size);

}  // namespace engine::bench
