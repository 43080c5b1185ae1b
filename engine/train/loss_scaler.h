#pragma once
// Dynamic loss scaling for fp16 (Micikevicius et al. 2018, section 3.2; the rules and constants of PyTorch's
// GradScaler): the loss is multiplied by a scale before the backward pass so that small gradients do not vanish, and
// the gradients are divided by it again. Where they overflow, the step is left out and the scale halved; after enough
// steps without, it is doubled.
#include <cstdint>

namespace engine {

// Between two steps; part of a checkpoint.
struct LossScale {
  double scale = 65536;
  int64_t good_steps = 0;  // since the scale last changed
  int64_t overflows = 0;   // steps in a row that were left out
  bool operator==(const LossScale&) const = default;
};

inline constexpr double kScaleGrowth = 2, kScaleBackoff = 0.5;
inline constexpr int64_t kScaleGrowthInterval = 2000;
// More steps in a row than this have another reason than the scale.
inline constexpr int64_t kMaxOverflows = 50;

// After a step whose gradients were finite, or not.
LossScale next_loss_scale(const LossScale& before, bool finite);

}  // namespace engine
