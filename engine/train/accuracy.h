#pragma once
// What an accuracy is worth: its uncertainty, whether it may stand beside a published one, and what its recipe expects.
#include <cstdint>
#include <string>

#include "engine/train/recipe.h"

namespace engine {

// Half of the 95 % Wilson interval of a share of `samples`, in percent as the share is; in contrast to the normal one
// it is not 0 at 100 %. 0 without samples.
double wilson_half_width(double percent, int64_t samples);

// Empty if an accuracy measured with this resolved configuration on `samples` validation pictures, `skipped` more of
// which could not be read, may be compared with published ones; otherwise why it may not: "5,000 held-out training
// pictures, published are those of the 10,000 test pictures". Published are numbers of ImageNet-1k's 50,000 validation
// pictures, of a centre crop of 224 after its short side was resized to 256 (or as the recipe says), and of CIFAR's
// 10,000 test pictures as they are.
std::string not_paper_comparable(const TrainConfig& config, const DataFacts& data, int64_t samples, int64_t skipped);

// "tv-v1 expects 76.13 ± 0.30% on ImageNet-1k (torchvision, IMAGENET1K_V1)"; empty if the configuration names no
// recipe, or one that expects nothing of its net.
std::string recipe_expectation(const TrainConfig& config);

// The same with the outcome: "...: reached", "...: missed by 1.20 points". Only with `comparable` a miss is one.
std::string against_recipe(const TrainConfig& config, double acc1, bool comparable);

}  // namespace engine
