#pragma once
// What the training loop needs to know of a network, and how pictures enter it.
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/data/transforms.h"
#include "engine/nn/module.h"
#include "engine/tensor.h"

namespace engine {

struct TrainableModel {
  std::string name;
  Module* module = nullptr;                      // owned by the caller
  std::function<Tensor(const Tensor&)> forward;  // images [N,H,W,3] of a float type -> logits [N,K]
  // Whose composition forward is, cut where little lies between; empty: nobody has cut it.
  std::vector<std::function<Tensor(const Tensor&)>> stages = {};
  int64_t num_classes = 0;
  int64_t parameters = 0;
  int64_t macs = 0;  // multiply-adds of one picture
};

struct InputFormat {
  Device device;
  DType dtype = DType::f32;  // of the activations
  Normalization normalization = kImageNetNormalization;

  TensorOptions tensor() const { return {dtype, device}; }
};

}  // namespace engine
