#pragma once
// From decoded images to the network's input.
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

// y[n,p,q,c] = (u / 255 - mean[c]) / std[c], with
//   u = x[n, row + p, column + (flipped ? Q-1 - q : q), c], 0 outside of the image
// and (row, column) = offsets[2n], offsets[2n+1]: negative offsets pad, as torchvision's RandomCrop(padding) does.
// Without offsets (0, 0); without flips not flipped. x [N,H,W,C] u8, y [N,P,Q,C] of `type`. Moves: the cropped part of
// x, and y. Needs: mean and std are host arrays of C numbers, read before the call returns; offsets and flips lie on
// the device. x, y not overlapping. One launch for 8 channels.
struct NormalizeImages {
  int64_t n = 0, h = 0, w = 0, c = 3;
  int64_t p = 0, q = 0;
  DataType type = DataType::f32;
  const uint8_t* x = nullptr;
  const int32_t* offsets = nullptr;  // optional [N,2]: row, column
  const uint8_t* flips = nullptr;    // optional [N]: 1 mirrors left and right
  const float* mean = nullptr;
  const float* std = nullptr;
  void* y = nullptr;
};
bool normalize_images(const NormalizeImages& args, Stream stream);
Cost normalize_images_cost(const NormalizeImages& args);

}  // namespace engine::kernels
