#include "models/summary.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "engine/error.h"
#include "kernels/types.h"

namespace engine::models {
namespace {

class Writer {
 public:
  Writer(Summary& summary, int64_t n, int64_t h, int64_t w, int64_t c) : summary_(summary), shape_{n, h, w, c} {}

  const Shape& shape() const { return shape_; }
  void set_shape(const Shape& shape) { shape_ = shape; }

  void conv(const std::string& name, const Conv2d& layer) {
    const Conv2dSpec& spec = layer.spec;
    const kernels::Conv2dShape conv = spec.shape(shape_[0], shape_[1], shape_[2]);
    shape_ = {conv.n, conv.p(), conv.q(), conv.k};
    std::ostringstream kind;
    kind << "conv " << spec.kernel << "x" << spec.kernel << "/" << spec.stride;
    if (spec.groups > 1) kind << " x" << spec.groups;
    add(name, kind.str(), layer.weight.numel() + (layer.bias.defined() ? layer.bias.numel() : 0), conv.macs());
  }
  void norm(const std::string& name, const BatchNorm2d& layer) {
    summary_.buffers += 2 * layer.bn.gamma.numel();
    add(name, "batch norm", 2 * layer.bn.gamma.numel(), 0);
  }
  void pool(const std::string& name, const std::string& kind, int64_t window, int64_t stride, int64_t padding) {
    const auto pooled = [&](int64_t extent) { return (extent + 2 * padding - window) / stride + 1; };
    check(shape_[1] + 2 * padding >= window && shape_[2] + 2 * padding >= window, "summary: the feature map ", shape_,
          " is smaller than the ", window, "x", window, " pool; use a larger image");
    shape_ = {shape_[0], pooled(shape_[1]), pooled(shape_[2]), shape_[3]};
    add(name, kind, 0, 0);
  }
  void add(const std::string& name, const std::string& kind, int64_t parameters, int64_t macs) {
    summary_.layers.push_back({name, kind, shape_, parameters, macs});
    summary_.parameters += parameters;
    summary_.macs += macs;
  }

 private:
  Summary& summary_;
  Shape shape_;
};

void write_block(Writer& writer, const std::string& name, const Block& block) {
  const Shape input = writer.shape();
  writer.conv(name + ".conv1", block.conv1);
  writer.norm(name + ".bn1", block.bn1);
  writer.conv(name + ".conv2", block.conv2);
  writer.norm(name + ".bn2", block.bn2);
  if (block.spec.kind == BlockKind::bottleneck) {
    writer.conv(name + ".conv3", block.conv3);
    writer.norm(name + ".bn3", block.bn3);
  }
  const Shape output = writer.shape();
  if (block.spec.shortcut == BlockSpec::Shortcut::projection) {
    writer.set_shape(input);
    writer.conv(name + ".downsample.0", block.downsample_conv);
    writer.norm(name + ".downsample.1", block.downsample_bn);
  }
  writer.set_shape(output);
  if (block.spec.shortcut != BlockSpec::Shortcut::none) writer.add(name, "add + relu", 0, 0);
}

std::string with_separators(int64_t value) {
  const std::string digits = std::to_string(value);
  std::string result;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) result.push_back(',');
    result.push_back(digits[i]);
  }
  return result;
}

}  // namespace

Summary summarize(ResNet& net, int64_t batch, int64_t height, int64_t width) {
  Summary summary;
  Writer writer(summary, batch, height, width, 3);
  const Family family = net.specification().family;
  writer.conv("conv1", net.conv1);
  writer.norm("bn1", net.bn1);
  if (!net.specification().for_small_images()) writer.pool("maxpool", "max pool 3x3/2", 3, 2, 1);
  for (size_t i = 0; i < net.layers.size(); ++i) {
    for (size_t b = 0; b < net.layers[i].size(); ++b) {
      write_block(writer, "layer" + std::to_string(i + 1) + "." + std::to_string(b), net.layers[i][b]);
    }
  }
  if (family == Family::intro) {
    writer.pool("avgpool", "average pool 7x7/1", 7, 1, 0);
  } else {
    writer.set_shape({batch, writer.shape()[3]});
    writer.add("avgpool", "global average pool", 0, 0);
  }
  writer.set_shape({batch, net.num_classes()});
  writer.add("fc", "linear", net.fc.weight.numel() + net.fc.bias.numel(), batch * net.fc.weight.numel());
  return summary;
}

std::string to_string(const Summary& summary) {
  size_t name_width = 5, kind_width = 4, shape_width = 6;
  for (const LayerSummary& layer : summary.layers) {
    name_width = std::max(name_width, layer.name.size());
    kind_width = std::max(kind_width, layer.kind.size());
    shape_width = std::max(shape_width, engine::to_string(layer.output).size());
  }
  std::ostringstream out;
  const auto row = [&](const std::string& name, const std::string& kind, const std::string& shape,
                       const std::string& parameters, const std::string& macs) {
    out << std::left << std::setw(static_cast<int>(name_width) + 2) << name
        << std::setw(static_cast<int>(kind_width) + 2) << kind << std::setw(static_cast<int>(shape_width) + 2) << shape
        << std::right << std::setw(13) << parameters << std::setw(18) << macs << '\n';
  };
  row("layer", "kind", "output", "parameters", "MACs");
  for (const LayerSummary& layer : summary.layers) {
    row(layer.name, layer.kind, engine::to_string(layer.output), with_separators(layer.parameters),
        with_separators(layer.macs));
  }
  row("total", "", "", with_separators(summary.parameters), with_separators(summary.macs));
  out << std::fixed << std::setprecision(3) << with_separators(summary.parameters) << " parameters, "
      << with_separators(summary.buffers) << " running statistics, " << static_cast<double>(summary.macs) / 1e9
      << " GMACs (multiply-adds of convolutions and the linear layer; 1 MAC = 2 FLOPs)\n";
  return out.str();
}

}  // namespace engine::models
