#pragma once
// The ResNet family: one builder, driven by the rows of models/specification.h. Names of parameters are torchvision's
// for every member ("layer1.0.conv1.weight", "layer2.0.downsample.0.weight", "fc.bias").
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/nn/layers.h"
#include "engine/nn/module.h"
#include "models/specification.h"

namespace engine::models {

struct ResNetOptions {
  std::optional<int64_t> num_classes = {};  // the family's default if not given; at least 2
  bool zero_init_residual =
      false;          // gamma of each block's last batch norm starts at 0 (Goyal et al. 2017, section 5.1)
  uint64_t seed = 0;  // of the initial parameters
  // false: filters and matrices are left unset, for a net that is only summarised or loads its weights. Drawing takes
  // about a second for 30 million parameters.
  bool initialize = true;
};

struct BlockSpec {
  BlockKind kind = BlockKind::basic;
  int64_t in_channels = 0, mid_channels = 0, out_channels = 0;
  int64_t stride = 1, groups = 1;
  bool bias = false;
  enum class Shortcut : uint8_t { none, identity, projection, subsample } shortcut = Shortcut::identity;
};

// relu(F(x) + shortcut(x)), F = two 3x3 convolutions (basic) or 1x1, 3x3, 1x1 (bottleneck, the stride in the 3x3).
class Block : public Module {
 public:
  Block(const BlockSpec& spec, RandomStream* random);  // null: filters are left unset
  Tensor operator()(const Tensor& x);
  void visit(ModuleVisitor& visitor) override;
  BatchNorm2d& last_norm() { return spec.kind == BlockKind::basic ? bn2 : bn3; }

  BlockSpec spec;
  Conv2d conv1, conv2, conv3;  // conv3 and bn3 in a bottleneck only
  BatchNorm2d bn1, bn2, bn3;
  Conv2d downsample_conv;  // downsample.0 and .1, with Shortcut::projection only
  BatchNorm2d downsample_bn;
};

class ResNet : public Module {
 public:
  ResNet(const Specification& specification, const ResNetOptions& options);

  // images [N,H,W,3] of a float type -> logits [N,num_classes] of the same type.
  Tensor operator()(const Tensor& images);
  void visit(ModuleVisitor& visitor) override;
  // The same in order: the stem, each block, the head. They refer to this net where it is now.
  std::vector<std::function<Tensor(const Tensor&)>> stages();

  const Specification& specification() const { return specification_; }
  int64_t num_classes() const { return fc.weight.size(0); }

  Conv2d conv1;
  BatchNorm2d bn1;
  std::vector<std::vector<Block>> layers;  // layer1, layer2, ...
  Linear fc;

 private:
  Tensor stem(const Tensor& images);
  Tensor head(const Tensor& x);

  Specification specification_;
};

// Throws Error(usage) for an unknown name or num_classes < 2, with the value in the message.
ResNet make_resnet(std::string_view name, const ResNetOptions& options = {});

inline ResNet resnet18(const ResNetOptions& options = {}) {
  return make_resnet("resnet18", options);
}
inline ResNet resnet34(const ResNetOptions& options = {}) {
  return make_resnet("resnet34", options);
}
inline ResNet resnet50(const ResNetOptions& options = {}) {
  return make_resnet("resnet50", options);
}
inline ResNet resnet101(const ResNetOptions& options = {}) {
  return make_resnet("resnet101", options);
}
inline ResNet resnet152(const ResNetOptions& options = {}) {
  return make_resnet("resnet152", options);
}

// The introduction's get_resnet(num_classes, depth): depth 18, 34, 50, 101 or 152, or Error(usage) with the value.
ResNet resnet_intro(int depth, const ResNetOptions& options = {});

}  // namespace engine::models
