#pragma once
// --budget: how much training fits into a time.
#include <cstdint>

#include "engine/train/trainer.h"

namespace engine {

// Seconds that an epoch with its validation takes, by a few steps on the real data. Trains the network of `setup`: give
// one that is thrown away. Stops early, with a rough number, on a signal.
double measure_epoch_seconds(const TrainSetup& setup);

// Epochs of `epoch_seconds` that fit into `minutes`: at least 1, at most `most`.
int64_t epochs_within(double minutes, double epoch_seconds, int64_t most);

}  // namespace engine
