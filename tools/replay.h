#pragma once
// resnet-train --replay: what a diverged run saved, computed again.
#include "tools/train_flags.h"

namespace engine::tools {

bool asks_for_replay(const TrainCommand& command);

// Prints the largest values of each layer, forward and backward, and what was the first that is not finite. The
// settings are those of the run; --device, --precision and others may be changed by flags. Returns the exit code: 7 if
// something was not finite again, else 0.
int replay(const TrainCommand& command);

}  // namespace engine::tools
