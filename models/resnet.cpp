#include "models/resnet.h"

#include <algorithm>
#include <array>

#include "engine/error.h"
#include "engine/ops/linear.h"
#include "engine/ops/pool.h"

namespace engine::models {
namespace {

struct StageSpec {
  int64_t mid_channels, out_channels, stride;
};

// The channels and the stride of the first block of stage `i`.
StageSpec stage_of(const Specification& specification, int64_t i) {
  const int64_t stride = i == 0 ? 1 : 2;
  if (specification.family == Family::cifar) return {int64_t{16} << i, int64_t{16} << i, stride};
  const int64_t planes = int64_t{64} << i;
  if (specification.block == BlockKind::bottleneck) {
    return {planes * specification.width_per_group / 64 * specification.groups, planes * 4, stride};
  }
  // The introduction widens in the second convolution: [64,64,128] [128,128,256] [256,256,512] [512,512,512].
  if (specification.family == Family::intro) return {planes, std::min<int64_t>(planes * 2, 512), stride};
  return {planes, planes, stride};
}

BlockSpec::Shortcut shortcut_of(const Specification& specification, bool first, bool changes_shape) {
  if (!specification.shortcuts) return BlockSpec::Shortcut::none;
  if (specification.family == Family::intro)
    return first ? BlockSpec::Shortcut::projection : BlockSpec::Shortcut::identity;
  if (!changes_shape) return BlockSpec::Shortcut::identity;
  return specification.family == Family::cifar ? BlockSpec::Shortcut::subsample : BlockSpec::Shortcut::projection;
}

Conv2d make_conv(const Conv2dSpec& spec, RandomStream* random) {
  return random != nullptr ? Conv2d(spec, *random) : Conv2d(spec);
}

}  // namespace

Block::Block(const BlockSpec& block, RandomStream* random) : spec(block) {
  const auto conv = [&](int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t groups) {
    return make_conv({.in_channels = in,
                      .out_channels = out,
                      .kernel = kernel,
                      .stride = stride,
                      .padding = kernel / 2,
                      .groups = groups,
                      .bias = block.bias},
                     random);
  };
  if (block.kind == BlockKind::basic) {
    conv1 = conv(block.in_channels, block.mid_channels, 3, block.stride, 1);
    bn1 = BatchNorm2d(block.mid_channels);
    conv2 = conv(block.mid_channels, block.out_channels, 3, 1, 1);
    bn2 = BatchNorm2d(block.out_channels);
  } else {
    conv1 = conv(block.in_channels, block.mid_channels, 1, 1, 1);
    bn1 = BatchNorm2d(block.mid_channels);
    conv2 = conv(block.mid_channels, block.mid_channels, 3, block.stride, block.groups);
    bn2 = BatchNorm2d(block.mid_channels);
    conv3 = conv(block.mid_channels, block.out_channels, 1, 1, 1);
    bn3 = BatchNorm2d(block.out_channels);
  }
  if (block.shortcut == BlockSpec::Shortcut::projection) {
    downsample_conv = conv(block.in_channels, block.out_channels, 1, block.stride, 1);
    downsample_bn = BatchNorm2d(block.out_channels);
  }
}

Tensor Block::operator()(const Tensor& x) {
  using enum BlockSpec::Shortcut;
  Tensor shortcut;
  switch (spec.shortcut) {
    case none:
      break;
    case identity:
      shortcut = x;
      break;
    case projection:  // joined below
      break;
    case subsample:
      shortcut = subsample_pad(x, {.stride = spec.stride, .channels = spec.out_channels});
      break;
  }
  Tensor y = conv_bn_relu(x, conv1, bn1);
  if (spec.kind == BlockKind::bottleneck) y = conv_bn_relu(y, conv2, bn2);
  const ConvBn last = spec.kind == BlockKind::bottleneck ? ConvBn{y, conv3, bn3} : ConvBn{y, conv2, bn2};
  if (spec.shortcut == projection) return conv_bn_join(last, {x, downsample_conv, downsample_bn});
  return conv_bn_relu(y, last.conv, last.bn, {.residual = shortcut});
}

void Block::visit(ModuleVisitor& visitor) {
  visitor.module("conv1", conv1);
  visitor.module("bn1", bn1);
  visitor.module("conv2", conv2);
  visitor.module("bn2", bn2);
  if (spec.kind == BlockKind::bottleneck) {
    visitor.module("conv3", conv3);
    visitor.module("bn3", bn3);
  }
  if (spec.shortcut == BlockSpec::Shortcut::projection) {
    visitor.module("downsample.0", downsample_conv);
    visitor.module("downsample.1", downsample_bn);
  }
}

ResNet::ResNet(const Specification& specification, const ResNetOptions& options) : specification_(specification) {
  const int64_t num_classes = options.num_classes.value_or(specification.default_classes());
  check(num_classes >= 2, specification.name, ": num_classes is ", num_classes, ", expected at least 2");
  RandomStream stream(options.seed, 0, 0, purpose::kInitialisation);
  RandomStream* const random = options.initialize ? &stream : nullptr;

  const bool small = specification.for_small_images();
  const bool bias = specification.family == Family::intro;
  int64_t channels = specification.family == Family::cifar ? 16 : 64;
  conv1 = make_conv({.in_channels = 3,
                     .out_channels = channels,
                     .kernel = small ? 3 : 7,
                     .stride = small ? 1 : 2,
                     .padding = small ? 1 : 3,
                     .bias = bias},
                    random);
  bn1 = BatchNorm2d(channels);
  for (size_t i = 0; i < specification.blocks.size(); ++i) {
    const StageSpec stage = stage_of(specification, static_cast<int64_t>(i));
    std::vector<Block>& layer = layers.emplace_back();
    for (int b = 0; b < specification.blocks[i]; ++b) {
      const int64_t stride = b == 0 ? stage.stride : 1;
      const bool changes_shape = stride != 1 || channels != stage.out_channels;
      layer.emplace_back(BlockSpec{.kind = specification.block,
                                   .in_channels = channels,
                                   .mid_channels = stage.mid_channels,
                                   .out_channels = stage.out_channels,
                                   .stride = stride,
                                   .groups = specification.groups,
                                   .bias = bias,
                                   .shortcut = shortcut_of(specification, b == 0, changes_shape)},
                         random);
      channels = stage.out_channels;
      if (options.zero_init_residual) layer.back().last_norm().bn.gamma.copy_from(Tensor::zeros({channels}));
    }
  }
  fc = random != nullptr ? Linear(channels, num_classes, *random) : Linear(channels, num_classes);
}

Tensor ResNet::stem(const Tensor& images) {
  check(images.defined() && images.shape().rank() == 4 && images.size(3) == 3, specification_.name,
        ": the images have shape ", images.defined() ? images.shape() : Shape{}, ", expected [N,H,W,3]");
  check(std::min(images.size(1), images.size(2)) >= specification_.minimum_image_size(), specification_.name,
        ": the images are ", images.size(1), "x", images.size(2), ", expected at least ",
        specification_.minimum_image_size(), "x", specification_.minimum_image_size());
  return specification_.for_small_images()
             ? conv_bn_relu(images, conv1, bn1)
             : conv_bn_relu_max_pool({images, conv1, bn1}, {.window = 3, .stride = 2, .padding = 1});
}

Tensor ResNet::head(const Tensor& x) {
  if (specification_.family != Family::intro) return fc(global_avg_pool(x));
  const Tensor pooled = avg_pool2d(x, {.window = 7, .stride = 1});
  check(pooled.size(1) == 1 && pooled.size(2) == 1, specification_.name, ": ", x.size(1), "x", x.size(2),
        " values a channel behind the last block leave ", pooled.size(1), "x", pooled.size(2),
        " behind the 7x7 average pool, expected 1x1; use 224x224 images");
  return fc(pooled.reshape({pooled.size(0), pooled.size(3)}));
}

Tensor ResNet::operator()(const Tensor& images) {
  Tensor x = stem(images);
  for (std::vector<Block>& layer : layers) {
    for (Block& block : layer) x = block(x);
  }
  return head(x);
}

std::vector<std::function<Tensor(const Tensor&)>> ResNet::stages() {
  std::vector<std::function<Tensor(const Tensor&)>> result = {[this](const Tensor& x) { return stem(x); }};
  for (std::vector<Block>& layer : layers) {
    for (Block& block : layer) result.emplace_back([&block](const Tensor& x) { return block(x); });
  }
  result.emplace_back([this](const Tensor& x) { return head(x); });
  return result;
}

void ResNet::visit(ModuleVisitor& visitor) {
  visitor.module("conv1", conv1);
  visitor.module("bn1", bn1);
  for (size_t i = 0; i < layers.size(); ++i) {
    for (size_t b = 0; b < layers[i].size(); ++b) {
      visitor.module("layer" + std::to_string(i + 1) + "." + std::to_string(b), layers[i][b]);
    }
  }
  visitor.module("fc", fc);
}

ResNet make_resnet(std::string_view name, const ResNetOptions& options) {
  return {find_specification(name), options};
}

ResNet resnet_intro(int depth, const ResNetOptions& options) {
  check(depth > 0, "resnet_intro: the depth is ", depth, ", expected one of 18, 34, 50, 101, 152");
  return make_resnet("resnet" + std::to_string(depth) + "_intro", options);
}

}  // namespace engine::models
