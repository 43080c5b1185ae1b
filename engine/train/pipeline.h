#pragma once
// How pictures get from a data set to the network, from a resolved configuration.
#include "engine/data/loader.h"
#include "engine/train/config.h"
#include "engine/train/recipe.h"
#include "engine/train/trainable.h"
#include "engine/train/training_loss.h"
#include "engine/train/weights_info.h"

namespace engine {

InputFormat input_format(const TrainConfig& config, const DataFacts& data, Device device);
// What the weights need beside them that a run with this configuration trains.
WeightsInfo weights_info(const TrainConfig& config, const DataFacts& facts, const Dataset& data);
LossOptions loss_options(const TrainConfig& config);
SampleTransform train_sample(const TrainConfig& config);
SampleTransform val_sample(const TrainConfig& config);
// Of one of config.ranks ranks.
LoaderOptions train_loader_options(const TrainConfig& config, int64_t samples, int64_t rank = 0);
LoaderOptions val_loader_options(const TrainConfig& config, int64_t samples, int64_t rank = 0);

}  // namespace engine
