#pragma once
// From a loader's batch in host memory to tensors on a device.
#include "engine/data/loader.h"
#include "engine/data/transforms.h"
#include "engine/tensor.h"

namespace engine {

// [N,H,W,3] of `dtype`: the pixels normalised, which is what a network takes.
Tensor image_tensor(const Batch& batch, const Normalization& normalization, TensorOptions options = {});

// [N] i64.
Tensor label_tensor(const Batch& batch, Device device = {});

}  // namespace engine
