#pragma once
// Random values to begin with: f32, on the host, a function of the stream alone.
#include "engine/random.h"
#include "engine/tensor.h"

namespace engine {

Tensor normal(const Shape& shape, RandomStream& random, float std = 1);     // mean 0
Tensor uniform(const Shape& shape, RandomStream& random, float bound = 1);  // over +-bound

}  // namespace engine
