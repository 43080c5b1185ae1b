#pragma once
#include <optional>
#include <vector>

#include "engine/nn/module.h"

namespace engine {

struct SgdOptions {
  float lr = 0.1f;
  float momentum = 0.9f;
  bool nesterov = false;
  float weight_decay = 0;
  std::optional<float> norm_weight_decay = {};  // for gamma and beta; weight_decay if not given
  std::optional<float> bias_weight_decay = {};  // for biases; weight_decay if not given
};

// What a step reads in the device's memory when it happens, so that a recorded one (engine/backend.h) follows a
// schedule and a check of the gradients. Each is optional.
struct SgdControl {
  Tensor lr;     // [] f32: instead of Sgd::lr()
  Tensor found;  // [] i64, of Backend::find_non_finite(): nothing is updated unless it is 0
};

// Stochastic gradient descent exactly as PyTorch's: d = grad + weight_decay*p; m = momentum*m + d (m = d at first);
// d = nesterov ? d + momentum*m : m; p -= lr*d. All parameters are updated in one call to the backend.
class Sgd {
 public:
  Sgd(std::vector<NamedParameter> parameters, SgdOptions options);

  // Uses the gradients of all parameters, then clears them: the next backward pass starts from zero. Between two steps
  // gradients accumulate over any number of backward passes. A parameter without a gradient is left as it is.
  void step(const SgdControl& control = {});
  // A recorded step() has happened again: what the host knows of the parameters is out of date.
  void replayed();

  void set_lr(float lr) { options_.lr = lr; }
  float lr() const { return options_.lr; }
  // The momentum buffers under the names of their parameters; empty before the first step. For checkpoints.
  std::vector<NamedTensor> state() const;
  // Takes over saved buffers; the names and shapes must be those of state(). An empty list means: no step taken yet.
  void load_state(const std::vector<NamedTensor>& state);
  // Changes when a momentum buffer comes to lie elsewhere: a recorded step() must then be recorded anew.
  uint64_t version() const { return version_; }

 private:
  float weight_decay_of(ParameterKind kind) const;

  std::vector<NamedParameter> parameters_;
  std::vector<Tensor> momentum_;  // one a parameter, undefined until its first step
  SgdOptions options_;
  uint64_t version_ = 0;
};

}  // namespace engine
