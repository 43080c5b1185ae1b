#pragma once
// What chance decides for a batch as a whole: mixup and cutmix. The pixels are mixed on the device, by
// normalize_images(), and the labels by mixed_targets().
#include <cstdint>

#include "engine/random.h"
#include "kernels/images.h"

namespace engine {

using kernels::ImageMix;

struct MixOptions {
  double mixup_alpha = 0;           // lambda ~ Beta(alpha, alpha) (Zhang et al. 2018); 0: no mixup
  double cutmix_alpha = 0;          // likewise (Yun et al. 2019)
  double probability = 1;           // that a batch is mixed
  double switch_probability = 0.5;  // of cutmix, where both are on
  int64_t end_epoch = 0;            // from this epoch on no batch is mixed; 0: never ends
  // Each picture gets a part of the one so many places before it, the first ones of the last. torchvision has 1; more
  // is needed where copies of one sample stand side by side.
  int64_t partner = 1;

  bool any() const { return mixup_alpha > 0 || cutmix_alpha > 0; }
};

ImageMix choose_mix(const MixOptions& options, int64_t epoch, int64_t height, int64_t width, RandomStream& random);

// Cutmix with a share of about 1 - lambda cut out around (centre_y, centre_x), as torchvision's CutMix.make_params:
// what the edges cut off the box is given back to the label.
ImageMix cutmix_around(double lambda, int64_t centre_y, int64_t centre_x, int64_t height, int64_t width);

// A number in [0, 1] from Beta(alpha, alpha), alpha > 0.
double sample_beta(double alpha, RandomStream& random);

struct ErasingOptions {  // Zhong et al. 2020; defaults of torchvision's RandomErasing
  double probability = 0;
  double smallest = 0.02, largest = 0.33;  // share of the area
  double flattest = 0.3, steepest = 3.3;   // height over width
};

// The box of a picture that is set to 0 once it is normalised: rows top ... bottom-1, columns left ... right-1.
struct ErasedBox {
  int64_t top = 0, left = 0, bottom = 0, right = 0;
};
ErasedBox choose_erased(const ErasingOptions& options, int64_t height, int64_t width, RandomStream& random);

}  // namespace engine
