#pragma once
// Is a gradient that somebody wrote by hand the gradient of what he computes?
#include <cstdint>
#include <functional>

#include "engine/tensor.h"

namespace engine {

struct GradientCheckOptions {
  // Of the derivative in a direction: the part of it by which the two ways may differ. A correct gradient differs by
  // about 1e-5, one that forgets a factor by far more than the default.
  double tolerance = 1e-3;
  uint64_t seed = 0;  // of the directions
};

// Compares the gradients that the tape of y = f(inputs) gives with differences of f: for each input, u . df/dv along a
// random direction v, for random weights u of y's elements. The differences are central ones of fourth order,
// (8 (f(x+hv) - f(x-hv)) - (f(x+2hv) - f(x-2hv))) / 12h, with h = 1/32 of the input's mean magnitude: f has to be
// smooth that far around, so keep inputs of a ReLU away from 0. f is called several times and has to give the same
// result for the same inputs. Inputs are f32, on any device; they are copied, and keep their gradients. Throws
// Error(usage) that names the input and both derivatives if they differ.
void check_gradients(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs,
                     const GradientCheckOptions& options = {});

}  // namespace engine
