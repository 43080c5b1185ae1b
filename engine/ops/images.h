#pragma once
// Pictures on their way into the network, and the targets that go with them.
#include <span>

#include "engine/tensor.h"

namespace engine {

// What is decided for a batch, in the device's memory and read there: recorded work happens again with other decisions.
struct ImageChoices {
  Tensor indices;  // optional [N] i64: which of the images, if these are a whole data set
  Tensor offsets;  // optional [N,2] i64: row and column where the part of height x width begins; zeros outside
  Tensor flips;    // optional [N] u8: 1 mirrors left and right
  int64_t height = 0, width = 0;  // of the results, with offsets; 0: those of the images
  Tensor erased;  // optional [N,4] i64: top, left, bottom, right of the box that becomes 0 (Zhong et al. 2020)
  Tensor mix;     // optional, mix_tensor(): mixup and cutmix
};

// Room for a kernels::ImageMix, to be filled with Backend::upload: [sizeof(kernels::ImageMix)] u8.
Tensor mix_tensor(Device device);

// images [N,H,W,C] u8 -> [N,H,W,C] of `dtype`: (images/255 - mean[c]) / std[c], cropped, mirrored, erased, then mixed,
// as kernels/images.h says. mean and std have C entries; nobody looks whether the indices are in range.
Tensor normalize_images(const Tensor& images, std::span<const float> mean, std::span<const float> std,
                        DType dtype = DType::f32, const ImageChoices& choices = {});

// labels [N] i64 -> [N,num_classes] f32: what a mixed batch is to be told, the targets of cross_entropy().
Tensor mixed_targets(const Tensor& labels, const Tensor& mix, int64_t num_classes);

}  // namespace engine
