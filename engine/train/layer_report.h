#pragma once
// The largest values in each layer of one forward and backward pass, and where the first that is not finite appeared.
#include <cstdint>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "engine/train/trainable.h"
#include "engine/train/training_loss.h"

namespace engine {

struct TensorRange {
  double largest = 0;  // of the finite magnitudes
  int64_t not_finite = 0;
  int64_t count = 0;

  void add(const Tensor& x);
};

// An operation of the forward pass, fused as it runs: "layer1.0.conv1+bn1".
struct LayerRow {
  std::string name;
  TensorRange output, parameters;
  TensorRange gradient;             // that it passes back to its inputs
  TensorRange parameter_gradients;  // in this pass alone
};

struct LayerReport {
  std::vector<LayerRow> rows;  // in the order of the forward pass
  double loss = 0;
  std::string first_not_finite;  // "the output of layer1.0.conv1+bn1"; empty: everything is finite

  // A table for people, with the sentence about the first below it.
  std::string text() const;
};

// A forward pass in training mode and a backward pass from `loss_scale` times the loss. `images` are what the network
// takes; gradients of the parameters are cleared before and after, running statistics change.
LayerReport inspect_layers(const TrainableModel& model, const LossOptions& loss, const Tensor& images,
                           const Tensor& target, double loss_scale = 1);

}  // namespace engine
