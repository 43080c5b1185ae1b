#pragma once
// Policies of augmentation: which operations a picture goes through once it is cropped and mirrored.
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/data/affine.h"
#include "engine/random.h"

namespace engine {

enum class Operation : uint8_t {
  identity,
  shear_x,        // amount
  shear_y,        // amount
  translate_x,    // pixels to the right
  translate_y,    // pixels down
  rotate,         // degrees, counter-clockwise
  brightness,     // factor
  saturation,     // factor
  contrast,       // factor
  sharpness,      // factor
  posterize,      // bits to keep
  solarize,       // threshold
  auto_contrast,  // -
  equalize,       // -
  invert,         // -
  solarize_add,   // amount
  hue,            // turns, -0.5 ... 0.5
};

// An operation and its number.
struct PixelOp {
  Operation operation = Operation::identity;
  double value = 0;
  Interpolation interpolation = Interpolation::bilinear;
};

void apply(const PixelOp& op, const Pixels& pixels, const Colour& fill);

struct ColourJitter {  // torchvision's ColorJitter: factors from [max(0, 1 - x), 1 + x], the hue from [-hue, hue]
  double brightness = 0, contrast = 0, saturation = 0, hue = 0;
  bool any() const { return brightness > 0 || contrast > 0 || saturation > 0 || hue > 0; }
};

struct AugmentPolicy {
  enum class Kind : uint8_t {
    none,
    trivial_wide,  // TrivialAugmentWide (Mueller and Hutter 2021), torchvision's
    random,        // RandAugment (Cubuk et al. 2020), torchvision's
    imagenet,      // AutoAugment (Cubuk et al. 2019), torchvision's
    cifar10,
    svhn,
    timm,  // timm's RandAugment, "rand-m9-mstd0.5-inc1"
  };
  Kind kind = Kind::none;
  int num_ops = 2;           // of random and timm
  double magnitude = 9;      // of random: 0 ... 30, whole; of timm: 0 ... 10
  double probability = 0.5;  // of timm: of each operation
  double noise = 0;          // of timm: the magnitude's standard deviation; infinite: uniform in 0 ... magnitude
  double limit = 10;         // of timm: of the magnitude with its noise
  bool increasing = true;    // of timm: posterize, solarize and the factors go away from the picture with the magnitude
  // Translations and rotations leave behind: black for torchvision's, ImageNet's mean for timm's.
  Colour fill() const { return kind == Kind::timm ? Colour{124, 116, 104} : Colour{0, 0, 0}; }
};

// "none", "ta_wide", "ra", "imagenet", "cifar10", "svhn" or timm's "rand-mM-nN-mstdS-mmaxL-incB-pP" (each part but the
// first optional); `magnitude` is that of "ra". Throws Error(usage) for anything else; `origin` is what the message
// begins with.
AugmentPolicy parse_policy(const std::string& text, int64_t magnitude, const std::string& origin);

// What a policy does to one picture of that size.
void choose_ops(const AugmentPolicy& policy, Interpolation interpolation, int width, int height, RandomStream& random,
                std::vector<PixelOp>& ops);
void choose_ops(const ColourJitter& jitter, RandomStream& random, std::vector<PixelOp>& ops);

// The operations that a policy of torchvision chooses from, and what one of them does at step `level` of its scale (0
// ... 30, AutoAugment 0 ... 9).
std::span<const Operation> operations_of(AugmentPolicy::Kind kind);
PixelOp torchvision_op(AugmentPolicy::Kind kind, Operation operation, int level, bool negative, int width, int height);

// What timm's does at a magnitude; `negative` where a sign is drawn.
PixelOp timm_op(Operation operation, double magnitude, bool increasing, bool negative, int width, int height);

struct SubPolicy {  // of AutoAugment: two operations, each with its probability and level
  struct Part {
    Operation operation;
    double probability;
    int level;
  };
  std::array<Part, 2> parts;
};
std::span<const SubPolicy> sub_policies(AugmentPolicy::Kind kind);

}  // namespace engine
