#include "bench/net_convolutions.h"

#include <algorithm>

namespace engine::bench {
namespace {

using kernels::Conv2dShape;

struct NamedConv {
  std::string name;
  Conv2dShape shape;
};

// Every convolution with its shape, in the order of the forward pass.
std::vector<NamedConv> convolutions(const models::ResNet& net, int64_t batch, int64_t image_size) {
  std::vector<NamedConv> all;
  int64_t h = image_size, w = image_size;
  const auto add = [&](const std::string& name, const Conv2d& conv) {
    const Conv2dSpec& spec = conv.spec;
    const Conv2dShape shape = {.n = batch,
                               .h = h,
                               .w = w,
                               .c = spec.in_channels,
                               .k = spec.out_channels,
                               .r = spec.kernel,
                               .s = spec.kernel,
                               .stride = spec.stride,
                               .padding = spec.padding,
                               .groups = spec.groups};
    all.push_back({name, shape});
    h = shape.p();
    w = shape.q();
  };
  add("conv1", net.conv1);
  if (!net.specification().for_small_images()) {  // max pool 3x3/2, padding 1
    h = (h - 1) / 2 + 1;
    w = (w - 1) / 2 + 1;
  }
  for (size_t stage = 0; stage < net.layers.size(); ++stage) {
    for (size_t b = 0; b < net.layers[stage].size(); ++b) {
      const models::Block& block = net.layers[stage][b];
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(b);
      const int64_t in_h = h, in_w = w;
      add(name + ".conv1", block.conv1);
      add(name + ".conv2", block.conv2);
      if (block.spec.kind == models::BlockKind::bottleneck) add(name + ".conv3", block.conv3);
      const int64_t out_h = h, out_w = w;
      if (block.spec.shortcut == models::BlockSpec::Shortcut::projection) {
        h = in_h;
        w = in_w;
        add(name + ".downsample.0", block.downsample_conv);
      }
      h = out_h;
      w = out_w;
    }
  }
  return all;
}

}  // namespace

std::vector<NetConvolution> distinct_convolutions(const models::ResNet& net, int64_t batch, int64_t image_size) {
  std::vector<NetConvolution> distinct;
  for (const NamedConv& conv : convolutions(net, batch, image_size)) {
    const auto same = std::find_if(distinct.begin(), distinct.end(),
                                   [&](const NetConvolution& other) { return other.shape == conv.shape; });
    if (same == distinct.end())
      distinct.push_back({conv.shape, {conv.name}});
    else
      same->layers.push_back(conv.name);
  }
  return distinct;
}

}  // namespace engine::bench
