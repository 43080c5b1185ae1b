#include "engine/train/unusual.h"

#include <cmath>

namespace engine {

double ZScore::add(double value) {
  if (!std::isfinite(value)) return 0;  // a NaN would stay in the mean for ever
  const double distance = value - mean;
  const double z = count < kFirst || !(variance > 0) ? 0 : distance / std::sqrt(variance);
  // At first the plain mean and variance of all, then those of a window.
  ++count;
  const double share = 1 / static_cast<double>(std::min(count, kWindow));
  mean += share * distance;
  variance = (1 - share) * (variance + share * distance * distance);
  return z;
}

}  // namespace engine
