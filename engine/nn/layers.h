#pragma once
#include "engine/nn/module.h"
#include "engine/ops/conv.h"
#include "engine/ops/norm.h"
#include "engine/random.h"
#include "kernels/types.h"

namespace engine {

struct Conv2dSpec {
  int64_t in_channels = 0, out_channels = 0;
  int64_t kernel = 1, stride = 1, padding = 0, groups = 1;
  bool bias = false;

  // Of a convolution of images [n,h,w,in_channels].
  kernels::Conv2dShape shape(int64_t n, int64_t h, int64_t w) const {
    return {.n = n,
            .h = h,
            .w = w,
            .c = in_channels,
            .k = out_channels,
            .r = kernel,
            .s = kernel,
            .stride = stride,
            .padding = padding,
            .groups = groups};
  }
};

// A convolution with torchvision's initialisation: filters normal with std sqrt(2 / (K*R*S)) (Kaiming normal, fan out,
// ReLU; He et al. 2015, eq. 10), bias uniform in +-1/sqrt(fan in) (PyTorch's default).
class Conv2d : public Module {
 public:
  Conv2d() = default;
  Conv2d(const Conv2dSpec& spec, RandomStream& random);
  explicit Conv2d(const Conv2dSpec& spec);  // values unset, to be loaded
  Tensor operator()(const Tensor& x) const;
  void visit(ModuleVisitor& visitor) override;

  Conv2dSpec spec;
  Tensor weight;  // [K,R,S,C/groups]
  Tensor bias;    // [K] or undefined
};

class BatchNorm2d : public Module {
 public:
  BatchNorm2d() = default;
  explicit BatchNorm2d(int64_t channels);  // gamma 1, beta 0, running mean 0, running variance 1
  Tensor operator()(const Tensor& x) { return batch_norm(x, bn, {.training = count_batch()}); }
  void visit(ModuleVisitor& visitor) override;

  // In training counts one more batch in num_batches_tracked. Returns training().
  bool count_batch();

  BatchNormState bn;
  Tensor num_batches_tracked;  // [] i64, always on the host
};

class Linear : public Module {
 public:
  Linear() = default;
  // Weight and bias uniform in +-1/sqrt(in_features), PyTorch's default.
  Linear(int64_t in_features, int64_t out_features, RandomStream& random);
  Linear(int64_t in_features, int64_t out_features);  // values unset, to be loaded
  Tensor operator()(const Tensor& x) const;
  void visit(ModuleVisitor& visitor) override;

  Tensor weight;  // [K,C]
  Tensor bias;    // [K]
};

struct FusionOptions {
  Tensor residual;  // optional: added before the ReLU
  bool relu = true;
};

// A convolution with its normalisation, applied to x.
struct ConvBn {
  const Tensor& x;
  const Conv2d& conv;
  BatchNorm2d& bn;
};

// relu(bn(conv(x)) + residual) as one operation; the convolution's own bias is folded.
Tensor conv_bn_relu(const Tensor& x, const Conv2d& conv, BatchNorm2d& bn, const FusionOptions& options = {});
// max_pool2d(relu(bn(conv(x)))) as one operation.
Tensor conv_bn_relu_max_pool(const ConvBn& stem, const Pool2dOptions& pool);
// relu(bn(conv(x)) of main + that of shortcut) as one operation.
Tensor conv_bn_join(const ConvBn& main, const ConvBn& shortcut);

}  // namespace engine
