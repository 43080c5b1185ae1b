#pragma once
// One row for each member of the family: everything that tells one ResNet from another.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace engine::models {

enum class Family : uint8_t {
  imagenet,  // He et al. 2015 section 3.3 with the stride in the 3x3 of a bottleneck (v1.5), as torchvision builds it
  intro,     // the ResNet introduction's: biases in every convolution, a projection in each stage's first block, 7x7
             // average pool
  cifar,  // He et al. 2015 section 4.2: 3x3 stem, three stages of 16, 32 and 64 channels, shortcuts without parameters
};

enum class BlockKind : uint8_t { basic, bottleneck };

struct Specification {
  std::string name;
  Family family = Family::imagenet;
  BlockKind block = BlockKind::basic;
  std::vector<int> blocks;       // blocks of each stage
  bool small_stem = false;       // 3x3/1 and no max pool, for images of about 32x32; the family cifar has it anyway
  int64_t groups = 1;            // of a bottleneck's 3x3 convolution (ResNeXt, Xie et al. 2017)
  int64_t width_per_group = 64;  // of a bottleneck's 3x3 convolution in the first stage
  bool shortcuts = true;         // false: the plain twin

  bool for_small_images() const { return small_stem || family == Family::cifar; }
  int64_t default_classes() const { return family == Family::imagenet && !small_stem ? 1000 : 10; }
  int64_t default_image_size() const { return for_small_images() ? 32 : 224; }
  // Images must be at least this high and wide.
  int64_t minimum_image_size() const { return family == Family::intro ? 193 : 1; }
};

// All members in the order of --list-models.
const std::vector<Specification>& specifications();

// Throws Error(usage) with the name, and the nearest members, for an unknown one.
const Specification& find_specification(std::string_view name);

}  // namespace engine::models
