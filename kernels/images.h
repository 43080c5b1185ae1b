#pragma once
// From decoded images to the network's input and its targets.
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

// How the images of a batch are mixed (mixup: Zhang et al. 2018; cutmix: Yun et al. 2019). Image n and the one
// `partner` places before it, image (n - partner) mod N, are added with the weights w and 1 - w, where w = 0 in the box
// of rows top ... bottom-1 and columns left ... right-1 of y, and `weight` outside of it; their targets with
// target_weight and 1 - target_weight. As it stands here it mixes nothing.
struct ImageMix {
  float weight = 1, target_weight = 1;
  int32_t partner = 0;  // 0 ... N-1, or any number: it counts modulo N
  int32_t top = 0, left = 0, bottom = 0, right = 0;
};

// y[n,p,q,c] = w v[n] + (1-w) v[partner of n],  v[n] = (u / 255 - mean[c]) / std[c], or 0 in the erased box of n, with
//   u = x[indices[n], row + p, column + (flipped ? Q-1 - q : q), c], 0 outside of the image
// and (row, column) = offsets[2n], offsets[2n+1]: negative offsets pad, as torchvision's RandomCrop(padding) does.
// Without indices image n is x[n]; with them x may have any number of images, a whole data set. Without offsets (0, 0);
// without flips not flipped; without erased nothing is erased (Zhong et al. 2020); without mix w = 1. x [N,H,W,C] u8, y
// [N,P,Q,C] of `type`. Moves: the cropped part of x, twice where it is mixed, and y. Needs: mean and std are host
// arrays of C numbers, read before the call returns; indices, offsets, flips, erased and mix lie on the device. x, y
// not overlapping; Q*C below 2^31. One launch for 8 channels.
struct NormalizeImages {
  int64_t n = 0, h = 0, w = 0, c = 3;
  int64_t p = 0, q = 0;
  DataType type = DataType::f32;
  const uint8_t* x = nullptr;
  const int64_t* indices = nullptr;  // optional [N]
  const int64_t* offsets = nullptr;  // optional [N,2]: row, column
  const uint8_t* flips = nullptr;    // optional [N]: 1 mirrors left and right
  const int64_t* erased = nullptr;   // optional [N,4]: top, left, bottom, right in y
  const ImageMix* mix = nullptr;     // optional
  const float* mean = nullptr;
  const float* std = nullptr;
  void* y = nullptr;
};
bool normalize_images(const NormalizeImages& args, Stream stream);
Cost normalize_images_cost(const NormalizeImages& args);

// y[n,k] = t [k = labels[n]] + (1-t) [k = labels[partner of n]] with t = mix->target_weight. labels [N] and mix lie on
// the device, y [N,K] f32. A label outside of [0,K) counts for nothing. Moves: y.
struct MixedTargets {
  int64_t n = 0, k = 0;
  const int64_t* labels = nullptr;
  const ImageMix* mix = nullptr;
  float* y = nullptr;
};
bool mixed_targets(const MixedTargets& args, Stream stream);
Cost mixed_targets_cost(const MixedTargets& args);

}  // namespace engine::kernels
