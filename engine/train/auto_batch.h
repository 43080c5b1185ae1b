#pragma once
#include "engine/train/trainer.h"

namespace engine {

// --auto-batch: halves batch_size and doubles grad_accum_steps as often as it takes for a step to fit into the device's
// memory, so that the pictures of a step stay the same. Found out by steps on blank pictures; a run that is resumed
// keeps what it has. Throws Error(usage) where that cannot be, and Error(memory) if nothing fits.
void fit_batch(TrainSetup& setup);

// The batch that a run with --auto-batch came to, for going on with it whatever -b asks for.
void keep_batch(TrainConfig& config, const SavedState& saved);

}  // namespace engine
