#pragma once
// How unusual a step is among those before it: a spike of the loss or of the gradient tells of a rate that is too high,
// or of bad data, while the training still looks well.
#include <algorithm>
#include <cstdint>

namespace engine {

// The z-score of each new number of a series: its distance from the mean of those before, in standard deviations. Mean
// and variance forget exponentially, over about kWindow numbers.
struct ZScore {
  static constexpr int64_t kWindow = 128;
  static constexpr int64_t kFirst = 32;  // 0 until so many are known: a mean of few says little

  double mean = 0, variance = 0;
  int64_t count = 0;

  double add(double value);
};

// What a run knows of its steps so far; part of its state, so that a resumed run says the same.
struct UnusualSteps {
  ZScore loss, grad_norm;
  double last_norm = 0;  // of the gradient of the last step
  // The largest since the last line of metrics, from 0: what falls behind is no spike.
  double loss_z = 0, norm_z = 0;

  void add(double step_loss, double step_norm) {
    last_norm = step_norm;
    loss_z = std::max(loss_z, loss.add(step_loss));
    norm_z = std::max(norm_z, grad_norm.add(step_norm));
  }
  void start_line() { loss_z = norm_z = 0; }
};

}  // namespace engine
