#pragma once
// How fast pictures come, without a network: what --test-io measures.
#include <string>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/train/config.h"

namespace engine {

struct InputStage {
  std::string name;
  int threads = 1;
  double img_per_s = 0;
};

// On pictures of `data`, each stage by itself for about `seconds`, on one thread and on `threads`: "read" (the file's
// bytes), "read and decode" (whole pictures), "resize (evaluation)" and "augment (training)" (of decoded pictures),
// "prepare" (from the file to the augmented picture, as in training: only the crop is decoded), and "loader": the same
// by a Loader with so many workers. `config` is a resolved one. Throws what a picture that cannot be read throws.
std::vector<InputStage> measure_input(const DatasetPtr& data, const TrainConfig& config, int threads, double seconds);

// The loader's rate with most workers, as a share of what they could do: that many times one thread's "prepare".
double loader_efficiency(const std::vector<InputStage>& stages);

}  // namespace engine
