#include "bench/net_convolutions.h"

#include <algorithm>

#include "bench/roofline.h"

namespace engine::bench {

std::vector<NetConvolution> distinct_convolutions(const models::ResNet& net, int64_t batch, int64_t image_size) {
  std::vector<NetConvolution> distinct;
  const auto add = [&](const RooflineConv& conv) {
    const auto same = std::find_if(distinct.begin(), distinct.end(),
                                   [&](const NetConvolution& other) { return other.shape == conv.shape; });
    if (same == distinct.end())
      distinct.push_back({conv.shape, {conv.name}});
    else
      same->layers.push_back(conv.name);
  };
  const RooflineNet whole = roofline_net(net, batch, image_size);
  add(whole.stem);
  for (const RooflineBlock& block : whole.blocks) {
    for (const RooflineConv& conv : block.convs) add(conv);
    if (block.projection) add(*block.projection);
  }
  return distinct;
}

}  // namespace engine::bench
