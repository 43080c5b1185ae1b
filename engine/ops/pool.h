#pragma once
#include "engine/tensor.h"

namespace engine {

struct Pool2dOptions {
  int64_t window = 2;
  int64_t stride = 2;
  int64_t padding = 0;  // on every side; at most window/2
};

// Maximum over each window, [N,H,W,C] -> [N,P,Q,C]. Padding never wins. The gradient goes to the first maximum of a
// window in row-major order, as in PyTorch.
Tensor max_pool2d(const Tensor& x, Pool2dOptions options);

// Mean over each window, [N,H,W,C] -> [N,P,Q,C]; without padding.
Tensor avg_pool2d(const Tensor& x, Pool2dOptions options);

// Mean over H and W, [N,H,W,C] -> [N,C].
Tensor global_avg_pool(const Tensor& x);

struct SubsamplePadOptions {
  int64_t stride = 2;
  int64_t channels = 0;  // of the result; the new ones are zero, half of them before and half behind x's
};

// Option A of He et al. 2015, section 4.2: a shortcut without parameters, [N,H,W,C] ->
// [N,ceil(H/stride),ceil(W/stride),channels].
Tensor subsample_pad(const Tensor& x, SubsamplePadOptions options);

}  // namespace engine
