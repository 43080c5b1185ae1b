#pragma once
// What a run says of itself before its first step.
#include <string>
#include <vector>

#include "engine/optim/schedule.h"
#include "engine/train/trainer.h"

namespace engine {

// A line each for the device, the network, the data, the training, the ranks if there are several, the recipe if there
// is one, and the output folder.
std::vector<std::string> opening_lines(const TrainSetup& setup, const Schedule& schedule, const std::string& device,
                                       bool data_on_device);

}  // namespace engine
