// The policies that AutoAugment found (Cubuk et al. 2019, tables 7 to 9), in torchvision's numbering of levels.
#include "engine/data/augment.h"

namespace engine {
namespace {

constexpr std::array<SubPolicy, 25> kImagenet = {{
    {{{{Operation::posterize, 0.4, 8}, {Operation::rotate, 0.6, 9}}}},
    {{{{Operation::solarize, 0.6, 5}, {Operation::auto_contrast, 0.6, 0}}}},
    {{{{Operation::equalize, 0.8, 0}, {Operation::equalize, 0.6, 0}}}},
    {{{{Operation::posterize, 0.6, 7}, {Operation::posterize, 0.6, 6}}}},
    {{{{Operation::equalize, 0.4, 0}, {Operation::solarize, 0.2, 4}}}},
    {{{{Operation::equalize, 0.4, 0}, {Operation::rotate, 0.8, 8}}}},
    {{{{Operation::solarize, 0.6, 3}, {Operation::equalize, 0.6, 0}}}},
    {{{{Operation::posterize, 0.8, 5}, {Operation::equalize, 1.0, 0}}}},
    {{{{Operation::rotate, 0.2, 3}, {Operation::solarize, 0.6, 8}}}},
    {{{{Operation::equalize, 0.6, 0}, {Operation::posterize, 0.4, 6}}}},
    {{{{Operation::rotate, 0.8, 8}, {Operation::saturation, 0.4, 0}}}},
    {{{{Operation::rotate, 0.4, 9}, {Operation::equalize, 0.6, 0}}}},
    {{{{Operation::equalize, 0.0, 0}, {Operation::equalize, 0.8, 0}}}},
    {{{{Operation::invert, 0.6, 0}, {Operation::equalize, 1.0, 0}}}},
    {{{{Operation::saturation, 0.6, 4}, {Operation::contrast, 1.0, 8}}}},
    {{{{Operation::rotate, 0.8, 8}, {Operation::saturation, 1.0, 2}}}},
    {{{{Operation::saturation, 0.8, 8}, {Operation::solarize, 0.8, 7}}}},
    {{{{Operation::sharpness, 0.4, 7}, {Operation::invert, 0.6, 0}}}},
    {{{{Operation::shear_x, 0.6, 5}, {Operation::equalize, 1.0, 0}}}},
    {{{{Operation::saturation, 0.4, 0}, {Operation::equalize, 0.6, 0}}}},
    {{{{Operation::equalize, 0.4, 0}, {Operation::solarize, 0.2, 4}}}},
    {{{{Operation::solarize, 0.6, 5}, {Operation::auto_contrast, 0.6, 0}}}},
    {{{{Operation::invert, 0.6, 0}, {Operation::equalize, 1.0, 0}}}},
    {{{{Operation::saturation, 0.6, 4}, {Operation::contrast, 1.0, 8}}}},
    {{{{Operation::equalize, 0.8, 0}, {Operation::equalize, 0.6, 0}}}},
}};

constexpr std::array<SubPolicy, 25> kCifar10 = {{
    {{{{Operation::invert, 0.1, 0}, {Operation::contrast, 0.2, 6}}}},
    {{{{Operation::rotate, 0.7, 2}, {Operation::translate_x, 0.3, 9}}}},
    {{{{Operation::sharpness, 0.8, 1}, {Operation::sharpness, 0.9, 3}}}},
    {{{{Operation::shear_y, 0.5, 8}, {Operation::translate_y, 0.7, 9}}}},
    {{{{Operation::auto_contrast, 0.5, 0}, {Operation::equalize, 0.9, 0}}}},
    {{{{Operation::shear_y, 0.2, 7}, {Operation::posterize, 0.3, 7}}}},
    {{{{Operation::saturation, 0.4, 3}, {Operation::brightness, 0.6, 7}}}},
    {{{{Operation::sharpness, 0.3, 9}, {Operation::brightness, 0.7, 9}}}},
    {{{{Operation::equalize, 0.6, 0}, {Operation::equalize, 0.5, 0}}}},
    {{{{Operation::contrast, 0.6, 7}, {Operation::sharpness, 0.6, 5}}}},
    {{{{Operation::saturation, 0.7, 7}, {Operation::translate_x, 0.5, 8}}}},
    {{{{Operation::equalize, 0.3, 0}, {Operation::auto_contrast, 0.4, 0}}}},
    {{{{Operation::translate_y, 0.4, 3}, {Operation::sharpness, 0.2, 6}}}},
    {{{{Operation::brightness, 0.9, 6}, {Operation::saturation, 0.2, 8}}}},
    {{{{Operation::solarize, 0.5, 2}, {Operation::invert, 0.0, 0}}}},
    {{{{Operation::equalize, 0.2, 0}, {Operation::auto_contrast, 0.6, 0}}}},
    {{{{Operation::equalize, 0.2, 0}, {Operation::equalize, 0.6, 0}}}},
    {{{{Operation::saturation, 0.9, 9}, {Operation::equalize, 0.6, 0}}}},
    {{{{Operation::auto_contrast, 0.8, 0}, {Operation::solarize, 0.2, 8}}}},
    {{{{Operation::brightness, 0.1, 3}, {Operation::saturation, 0.7, 0}}}},
    {{{{Operation::solarize, 0.4, 5}, {Operation::auto_contrast, 0.9, 0}}}},
    {{{{Operation::translate_y, 0.9, 9}, {Operation::translate_y, 0.7, 9}}}},
    {{{{Operation::auto_contrast, 0.9, 0}, {Operation::solarize, 0.8, 3}}}},
    {{{{Operation::equalize, 0.8, 0}, {Operation::invert, 0.1, 0}}}},
    {{{{Operation::translate_y, 0.7, 9}, {Operation::auto_contrast, 0.9, 0}}}},
}};

constexpr std::array<SubPolicy, 25> kSvhn = {{
    {{{{Operation::shear_x, 0.9, 4}, {Operation::invert, 0.2, 0}}}},
    {{{{Operation::shear_y, 0.9, 8}, {Operation::invert, 0.7, 0}}}},
    {{{{Operation::equalize, 0.6, 0}, {Operation::solarize, 0.6, 6}}}},
    {{{{Operation::invert, 0.9, 0}, {Operation::equalize, 0.6, 0}}}},
    {{{{Operation::equalize, 0.6, 0}, {Operation::rotate, 0.9, 3}}}},
    {{{{Operation::shear_x, 0.9, 4}, {Operation::auto_contrast, 0.8, 0}}}},
    {{{{Operation::shear_y, 0.9, 8}, {Operation::invert, 0.4, 0}}}},
    {{{{Operation::shear_y, 0.9, 5}, {Operation::solarize, 0.2, 6}}}},
    {{{{Operation::invert, 0.9, 0}, {Operation::auto_contrast, 0.8, 0}}}},
    {{{{Operation::equalize, 0.6, 0}, {Operation::rotate, 0.9, 3}}}},
    {{{{Operation::shear_x, 0.9, 4}, {Operation::solarize, 0.3, 3}}}},
    {{{{Operation::shear_y, 0.8, 8}, {Operation::invert, 0.7, 0}}}},
    {{{{Operation::equalize, 0.9, 0}, {Operation::translate_y, 0.6, 6}}}},
    {{{{Operation::invert, 0.9, 0}, {Operation::equalize, 0.6, 0}}}},
    {{{{Operation::contrast, 0.3, 3}, {Operation::rotate, 0.8, 4}}}},
    {{{{Operation::invert, 0.8, 0}, {Operation::translate_y, 0.0, 2}}}},
    {{{{Operation::shear_y, 0.7, 6}, {Operation::solarize, 0.4, 8}}}},
    {{{{Operation::invert, 0.6, 0}, {Operation::rotate, 0.8, 4}}}},
    {{{{Operation::shear_y, 0.3, 7}, {Operation::translate_x, 0.9, 3}}}},
    {{{{Operation::shear_x, 0.1, 6}, {Operation::invert, 0.6, 0}}}},
    {{{{Operation::solarize, 0.7, 2}, {Operation::translate_y, 0.6, 7}}}},
    {{{{Operation::shear_y, 0.8, 4}, {Operation::invert, 0.8, 0}}}},
    {{{{Operation::shear_x, 0.7, 9}, {Operation::translate_y, 0.8, 3}}}},
    {{{{Operation::shear_y, 0.8, 5}, {Operation::auto_contrast, 0.7, 0}}}},
    {{{{Operation::shear_x, 0.7, 2}, {Operation::invert, 0.1, 0}}}},
}};

}  // namespace

std::span<const SubPolicy> sub_policies(AugmentPolicy::Kind kind) {
  switch (kind) {
    case AugmentPolicy::Kind::imagenet:
      return kImagenet;
    case AugmentPolicy::Kind::cifar10:
      return kCifar10;
    case AugmentPolicy::Kind::svhn:
      return kSvhn;
    default:
      return {};
  }
}

}  // namespace engine
