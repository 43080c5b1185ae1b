#include "models/onnx.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/error.h"
#include "engine/nn/weights.h"
#include "engine/train/version.h"
#include "models/summary.h"

namespace engine::models {
namespace {

using Ints = std::vector<int64_t>;

class Exporter {
 public:
  Exporter(ResNet& net, const OnnxOptions& options) : net_(net), options_(options), state_(net.state()) {
    for (const TensorView& view : state_.views()) by_name_[view.name] = &view;
  }

  // Valid as long as this object: the constants are views.
  const OnnxModel& build() {
    const Specification& specification = net_.specification();
    const int64_t size = options_.image_size.value_or(specification.default_image_size());
    check_size(size);
    model_.name = specification.name;
    model_.producer_version = version();
    model_.metadata = options_.metadata;
    model_.inputs.push_back(value("input", {3, size, size}));
    model_.outputs.push_back(value("output", {net_.num_classes()}));

    std::string x = relu("relu", conv_norm("conv1", net_.conv1, "bn1", net_.bn1, "input"));
    if (!specification.for_small_images()) {
      x = node("MaxPool", {x}, "maxpool",
               {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}});
    }
    for (size_t i = 0; i < net_.layers.size(); ++i) {
      for (size_t b = 0; b < net_.layers[i].size(); ++b) {
        x = block("layer" + std::to_string(i + 1) + "." + std::to_string(b), net_.layers[i][b], x);
      }
    }
    if (specification.family == Family::intro) {
      x = node("AveragePool", {x}, "avgpool", {{"kernel_shape", Ints{7, 7}}, {"strides", Ints{1, 1}}});
    } else {
      x = node("GlobalAveragePool", {x}, "avgpool");
    }
    x = node("Flatten", {x}, "flatten");
    node("Gemm", {x, constant("fc.weight"), constant("fc.bias")}, "output", {{"transB", int64_t{1}}});
    return model_;
  }

 private:
  // A net with another average than the global one takes images of the sizes that leave one value a channel behind it.
  void check_size(int64_t size) {
    const std::string& name = net_.specification().name;
    const int64_t least = net_.specification().minimum_image_size();
    check(size >= least, "save_onnx: ", name, " takes images of at least ", least, "x", least, ", not ", size, "x",
          size);
    if (net_.specification().family != Family::intro) return;
    const Summary summary = summarize(net_, 1, size, size);
    for (const LayerSummary& layer : summary.layers) {
      check(layer.name != "avgpool" || layer.output[1] * layer.output[2] == 1, "save_onnx: images of ", size, "x", size,
            " leave ", layer.output, " behind the average pool of ", name,
            ", expected one value a channel; use 224x224");
    }
  }

  static OnnxValue value(const char* name, const Ints& extents) {
    OnnxValue result{name, {}};
    result.shape.emplace_back("batch");
    for (const int64_t extent : extents) result.shape.emplace_back(extent);
    return result;
  }
  std::string node(const char* op, std::vector<std::string> inputs, const std::string& output,
                   std::vector<OnnxAttribute> attributes = {}) {
    model_.nodes.push_back({op, std::move(inputs), output, std::move(attributes)});
    return output;
  }
  std::string relu(const std::string& name, const std::string& x) { return node("Relu", {x}, name); }

  // A parameter or buffer under its own name.
  std::string constant(const std::string& name) {
    model_.constants.push_back(*by_name_.at(name));
    return name;
  }
  template <class T>
  std::string constant(const std::string& name, const std::vector<T>& values, std::vector<int64_t> shape) {
    const auto bytes = std::as_bytes(std::span(values));
    const std::vector<std::byte>& kept = owned_.emplace_back(bytes.begin(), bytes.end());
    model_.constants.push_back(
        {name, sizeof(T) == 8 ? SafetensorsDType::i64 : SafetensorsDType::f32, std::move(shape), kept});
    return name;
  }

  std::string conv_norm(const std::string& conv_name, const Conv2d& conv, const std::string& norm_name,
                        const BatchNorm2d& norm, const std::string& x) {
    const Conv2dSpec& spec = conv.spec;
    std::vector<OnnxAttribute> attributes = {
        {"kernel_shape", Ints(2, spec.kernel)}, {"strides", Ints(2, spec.stride)}, {"pads", Ints(4, spec.padding)}};
    if (spec.groups > 1) attributes.push_back({"group", spec.groups});
    if (options_.fold_batch_norm) {
      return node("Conv", fold(x, conv_name, conv, norm_name, norm.bn.eps), conv_name, std::move(attributes));
    }
    std::vector<std::string> inputs = {x, constant(conv_name + ".weight")};
    if (conv.bias.defined()) inputs.push_back(constant(conv_name + ".bias"));
    const std::string y = node("Conv", std::move(inputs), conv_name, std::move(attributes));
    return node("BatchNormalization",
                {y, constant(norm_name + ".weight"), constant(norm_name + ".bias"),
                 constant(norm_name + ".running_mean"), constant(norm_name + ".running_var")},
                norm_name, {{"epsilon", norm.bn.eps}});
  }

  // x with the filters and the bias that do what convolution and normalisation do.
  std::vector<std::string> fold(const std::string& x, const std::string& conv_name, const Conv2d& conv,
                                const std::string& norm_name, float eps) {
    const std::vector<float> gamma = values(norm_name + ".weight"), beta = values(norm_name + ".bias"),
                             mean = values(norm_name + ".running_mean"), variance = values(norm_name + ".running_var");
    const std::vector<float> bias =
        conv.bias.defined() ? values(conv_name + ".bias") : std::vector<float>(gamma.size());
    std::vector<float> weight = values(conv_name + ".weight"), shift(gamma.size());
    const size_t filter = weight.size() / gamma.size();
    for (size_t k = 0; k < gamma.size(); ++k) {
      const double scale = double{gamma[k]} / std::sqrt(double{variance[k]} + double{eps});
      for (size_t i = k * filter; i < (k + 1) * filter; ++i) weight[i] = static_cast<float>(double{weight[i]} * scale);
      shift[k] = static_cast<float>(double{beta[k]} + (double{bias[k]} - double{mean[k]}) * scale);
    }
    const auto channels = static_cast<int64_t>(shift.size());
    return {x, constant(conv_name + ".weight", weight, by_name_.at(conv_name + ".weight")->shape),
            constant(conv_name + ".bias", shift, {channels})};
  }

  std::vector<float> values(const std::string& name) const {
    const TensorView& view = *by_name_.at(name);
    std::vector<float> result(view.data.size() / sizeof(float));
    std::memcpy(result.data(), view.data.data(), view.data.size());
    return result;
  }

  std::string block(const std::string& name, const Block& block, const std::string& x) {
    const auto part = [&](int i, const Conv2d& conv, const BatchNorm2d& norm, const std::string& input) {
      const std::string number = std::to_string(i);
      return conv_norm(name + ".conv" + number, conv, name + ".bn" + number, norm, input);
    };
    std::string y = relu(name + ".relu1", part(1, block.conv1, block.bn1, x));
    y = part(2, block.conv2, block.bn2, y);
    if (block.spec.kind == BlockKind::bottleneck) {
      y = part(3, block.conv3, block.bn3, relu(name + ".relu2", y));
    }
    switch (block.spec.shortcut) {
      case BlockSpec::Shortcut::none:
        return relu(name, y);
      case BlockSpec::Shortcut::identity:
        y = node("Add", {y, x}, name + ".add");
        break;
      case BlockSpec::Shortcut::projection:
        y = node("Add",
                 {y, conv_norm(name + ".downsample.0", block.downsample_conv, name + ".downsample.1",
                               block.downsample_bn, x)},
                 name + ".add");
        break;
      case BlockSpec::Shortcut::subsample:
        y = node("Add", {y, subsample(name + ".downsample", block.spec, x)}, name + ".add");
        break;
    }
    return relu(name, y);
  }

  // Option A: every second pixel, and empty channels around.
  std::string subsample(const std::string& name, const BlockSpec& spec, const std::string& x) {
    const int64_t end = std::numeric_limits<int64_t>::max(), added = spec.out_channels - spec.in_channels;
    const std::string y =
        node("Slice",
             {x, constant(name + ".starts", Ints{0, 0}, {2}), constant(name + ".ends", Ints(2, end), {2}),
              constant(name + ".axes", Ints{2, 3}, {2}), constant(name + ".steps", Ints(2, spec.stride), {2})},
             name + ".pixels");
    const Ints pads = {0, added / 2, 0, 0, 0, added - added / 2, 0, 0};
    return node("Pad", {y, constant(name + ".pads", pads, {8})}, name);
  }

  ResNet& net_;
  const OnnxOptions& options_;
  HostState state_;
  std::unordered_map<std::string, const TensorView*> by_name_;
  std::list<std::vector<std::byte>> owned_;  // constants that are no parameter's
  OnnxModel model_;
};

}  // namespace

FileDigest save_onnx(const std::filesystem::path& path, ResNet& net, const OnnxOptions& options) {
  Exporter exporter(net, options);
  return write_onnx(path, exporter.build());
}

}  // namespace engine::models
