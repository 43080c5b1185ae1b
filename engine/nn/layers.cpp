#include "engine/nn/layers.h"

#include <cmath>

#include "engine/autograd.h"
#include "engine/error.h"
#include "engine/nn/random_tensors.h"
#include "engine/ops/linear.h"

namespace engine {
namespace {

Tensor parameter(Tensor values) {
  return values.set_requires_grad(true);
}

}  // namespace

Conv2d::Conv2d(const Conv2dSpec& conv) : spec(conv) {
  check(conv.groups >= 1 && conv.in_channels % conv.groups == 0 && conv.out_channels % conv.groups == 0,
        "Conv2d: ", conv.in_channels, " and ", conv.out_channels,
        " channels must be multiples of groups=", conv.groups);
  weight = parameter(Tensor::empty({conv.out_channels, conv.kernel, conv.kernel, conv.in_channels / conv.groups}));
  if (conv.bias) bias = parameter(Tensor::empty({conv.out_channels}));
}

Conv2d::Conv2d(const Conv2dSpec& conv, RandomStream& random) : Conv2d(conv) {
  const int64_t area = conv.kernel * conv.kernel;
  const auto fan_in = static_cast<float>(area * conv.in_channels / conv.groups);
  const auto fan_out = static_cast<float>(area * conv.out_channels);  // PyTorch counts all filters, whatever the groups
  weight = parameter(normal(weight.shape(), random, std::sqrt(2 / fan_out)));
  if (conv.bias) bias = parameter(uniform(bias.shape(), random, 1 / std::sqrt(fan_in)));
}

Tensor Conv2d::operator()(const Tensor& x) const {
  return conv2d(x, weight, bias, {.stride = spec.stride, .padding = spec.padding, .groups = spec.groups});
}

void Conv2d::visit(ModuleVisitor& visitor) {
  visitor.parameter("weight", weight, ParameterKind::weight);
  visitor.parameter("bias", bias, ParameterKind::bias);
}

BatchNorm2d::BatchNorm2d(int64_t channels) {
  bn.gamma = Tensor::full({channels}, 1).set_requires_grad(true);
  bn.beta = Tensor::zeros({channels}).set_requires_grad(true);
  bn.running_mean = Tensor::zeros({channels});
  bn.running_var = Tensor::full({channels}, 1);
  num_batches_tracked = Tensor::zeros({}, {.dtype = DType::i64});
}

bool BatchNorm2d::count_batch() {
  if (training() && !recomputing()) ++num_batches_tracked.mutable_values<int64_t>()[0];
  return training();
}

void BatchNorm2d::visit(ModuleVisitor& visitor) {
  visitor.parameter("weight", bn.gamma, ParameterKind::norm);
  visitor.parameter("bias", bn.beta, ParameterKind::norm);
  visitor.buffer("running_mean", bn.running_mean);
  visitor.buffer("running_var", bn.running_var);
  visitor.buffer("num_batches_tracked", num_batches_tracked);
}

Linear::Linear(int64_t in_features, int64_t out_features)
    : weight(parameter(Tensor::empty({out_features, in_features}))), bias(parameter(Tensor::empty({out_features}))) {}

Linear::Linear(int64_t in_features, int64_t out_features, RandomStream& random) {
  const float bound = 1 / std::sqrt(static_cast<float>(in_features));
  weight = parameter(uniform({out_features, in_features}, random, bound));
  bias = parameter(uniform({out_features}, random, bound));
}

Tensor Linear::operator()(const Tensor& x) const {
  return linear(x, weight, bias);
}

void Linear::visit(ModuleVisitor& visitor) {
  visitor.parameter("weight", weight, ParameterKind::weight);
  visitor.parameter("bias", bias, ParameterKind::bias);
}

namespace {

ConvBnOptions options_of(const Conv2d& conv, BatchNorm2d& bn) {
  return {.stride = conv.spec.stride,
          .padding = conv.spec.padding,
          .groups = conv.spec.groups,
          .bias = conv.bias,
          .training = bn.count_batch()};
}

ConvBnBranch branch(const ConvBn& part) {
  return {.x = part.x, .w = part.conv.weight, .bn = part.bn.bn, .options = options_of(part.conv, part.bn)};
}

}  // namespace

Tensor conv_bn_relu(const Tensor& x, const Conv2d& conv, BatchNorm2d& bn, const FusionOptions& options) {
  ConvBnOptions all = options_of(conv, bn);
  all.residual = options.residual;
  all.relu = options.relu;
  return conv_bn_relu(x, conv.weight, bn.bn, all);
}

Tensor conv_bn_relu_max_pool(const ConvBn& stem, const Pool2dOptions& pool) {
  return conv_bn_relu_max_pool(stem.x, stem.conv.weight, stem.bn.bn, options_of(stem.conv, stem.bn), pool);
}

Tensor conv_bn_join(const ConvBn& main, const ConvBn& shortcut) {
  return conv_bn_join(branch(main), branch(shortcut));
}

}  // namespace engine
