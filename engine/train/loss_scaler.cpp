#include "engine/train/loss_scaler.h"

#include <limits>

namespace engine {

LossScale next_loss_scale(const LossScale& before, bool finite) {
  if (!finite) return {.scale = before.scale * kScaleBackoff, .good_steps = 0, .overflows = before.overflows + 1};
  if (before.good_steps + 1 < kScaleGrowthInterval)
    return {.scale = before.scale, .good_steps = before.good_steps + 1, .overflows = 0};
  const double grown = before.scale * kScaleGrowth;
  const bool holds = grown <= std::numeric_limits<float>::max();
  return {.scale = holds ? grown : before.scale, .good_steps = 0, .overflows = 0};
}

}  // namespace engine
