#pragma once
#include "engine/train/trainer.h"

namespace engine {

// --auto-batch: halves batch_size and doubles grad_accum_steps as often as it takes for a step to fit into the device's
// memory, so that the pictures of a step stay the same. Found out by steps on blank pictures; a run that is resumed
// keeps what it had. Throws Error(usage) where that cannot be, and Error(memory) if nothing fits.
void fit_batch(TrainSetup& setup);

}  // namespace engine
