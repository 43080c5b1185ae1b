#include "engine/nn/random_tensors.h"

namespace engine {

Tensor normal(const Shape& shape, RandomStream& random, float std) {
  Tensor result = Tensor::empty(shape);
  for (float& value : result.mutable_values<float>()) value = random.normal() * std;
  return result;
}

Tensor uniform(const Shape& shape, RandomStream& random, float bound) {
  Tensor result = Tensor::empty(shape);
  for (float& value : result.mutable_values<float>()) value = (2 * random.uniform() - 1) * bound;
  return result;
}

}  // namespace engine
