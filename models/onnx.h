#pragma once
// A net of the family as an ONNX model for inference.
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "engine/io/onnx.h"
#include "models/resnet.h"

namespace engine::models {

struct OnnxOptions {
  // Fold each batch norm into the convolution before it: w' = w * gamma / sqrt(var + eps), computed in double. Without
  // it the net keeps BatchNormalization nodes with torchvision's names, say to go on training elsewhere.
  bool fold_batch_norm = true;
  std::optional<std::int64_t> image_size;  // side of the images; the family's default if not given
  std::map<std::string, std::string> metadata;
};

// Writes what the net computes in evaluation mode: "input" f32 [batch,3,H,W], normalised as in training, to logits
// "output" f32 [batch,num_classes]; the batch is free. Opset 17. Throws Error(usage) for images that the net does not
// take, and Error(checkpoint) as write_onnx().
FileDigest save_onnx(const std::filesystem::path& path, ResNet& net, const OnnxOptions& options = {});

}  // namespace engine::models
