#include "bench/roofline.h"

namespace engine::bench {
namespace {

using models::Block;
using models::BlockKind;
using models::BlockSpec;

constexpr int64_t kStoredImageChannels = 4;

struct Size {
  int64_t h, w;
};

class NetBuilder {
 public:
  NetBuilder(const models::ResNet& net, int64_t batch, int64_t image_size)
      : net_(net), batch_(batch), size_{image_size, image_size} {
    result_.batch = static_cast<double>(batch);
    result_.pixels = static_cast<double>(batch * image_size * image_size);
  }

  RooflineNet build() {
    result_.stem = add("conv1", net_.conv1, size_);
    int64_t channels = net_.conv1.spec.out_channels;
    if (!net_.specification().for_small_images()) {  // 3x3/2, padding 1
      size_ = {(size_.h - 1) / 2 + 1, (size_.w - 1) / 2 + 1};
      result_.pooled = static_cast<double>(batch_ * size_.h * size_.w * channels);
    }
    for (size_t stage = 0; stage < net_.layers.size(); ++stage)
      for (size_t b = 0; b < net_.layers[stage].size(); ++b) {
        add_block("layer" + std::to_string(stage + 1) + "." + std::to_string(b), net_.layers[stage][b]);
        channels = net_.layers[stage][b].spec.out_channels;
      }
    result_.features = static_cast<double>(channels);
    result_.classes = static_cast<double>(net_.num_classes());
    result_.parameters += (result_.features + 1) * result_.classes;
    return std::move(result_);
  }

 private:
  void add_block(const std::string& name, const Block& block) {
    RooflineBlock made{.name = name, .convs = {}, .projection = {}, .shortcut = block.spec.shortcut};
    Size in = size_;
    made.convs.push_back(add(name + ".conv1", block.conv1, size_));
    made.convs.push_back(add(name + ".conv2", block.conv2, size_));
    if (block.spec.kind == BlockKind::bottleneck) made.convs.push_back(add(name + ".conv3", block.conv3, size_));
    if (block.spec.shortcut == BlockSpec::Shortcut::projection)
      made.projection = add(name + ".downsample.0", block.downsample_conv, in);
    result_.blocks.push_back(std::move(made));
  }

  // `size` becomes that of the result.
  RooflineConv add(const std::string& name, const Conv2d& conv, Size& size) {
    const Conv2dSpec& spec = conv.spec;
    const kernels::Conv2dShape s = spec.shape(batch_, size.h, size.w);
    const int64_t stored = s.c == 3 ? kStoredImageChannels : s.c;
    RooflineConv made{.name = name,
                      .shape = s,
                      .bias = spec.bias,
                      .x = static_cast<double>(s.n * s.h * s.w * stored),
                      .used_x = 0,
                      .w = static_cast<double>(s.k * s.r * s.s * (s.c / s.groups)),
                      .y = static_cast<double>(s.n * s.p() * s.q() * s.k)};
    const bool skips = s.stride > 1 && s.r == 1;
    made.used_x = skips ? static_cast<double>(s.n * s.p() * s.q() * stored) : made.x;
    result_.parameters += made.w + static_cast<double>((spec.bias ? 3 : 2) * s.k);  // with gamma and beta
    size = {s.p(), s.q()};
    return made;
  }

  const models::ResNet& net_;
  int64_t batch_;
  Size size_;
  RooflineNet result_;
};

}  // namespace

RooflineNet roofline_net(const models::ResNet& net, int64_t batch, int64_t image_size) {
  return NetBuilder(net, batch, image_size).build();
}

}  // namespace engine::bench
