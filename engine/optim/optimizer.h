#pragma once
// What the optimisers have in common. They differ in the rule by which a backend moves a parameter
// (kernels/optimizer_rule.h) and in what they keep for each.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/nn/module.h"

namespace engine {

namespace kernels {
struct OptimizerRule;
}

// What a step reads in the device's memory when it happens, so that a recorded one (engine/backend.h) follows a
// schedule and a check of the gradients. Each is optional.
struct StepControl {
  Tensor lr;          // [] f32: instead of Optimizer::lr()
  Tensor grad_scale;  // [] f32: each gradient is multiplied by it when it is read
  Tensor found;       // [] i64, of Backend::find_non_finite(): nothing is updated unless it is 0
};

// Weight decay by the kind of parameter.
struct WeightDecay {
  float weight = 0;
  std::optional<float> norm = {};  // gamma and beta; `weight` if not given
  std::optional<float> bias = {};  // `weight` if not given

  float of(ParameterKind kind) const;
};

// All parameters are updated in one call to the backend.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // Uses the gradients of all parameters, then clears them: the next backward pass starts from zero. Between two steps
  // gradients accumulate over any number of backward passes. A parameter without a gradient is left as it is.
  void step(const StepControl& control = {});
  // A recorded step() has happened again: what the host knows of the parameters is out of date.
  void replayed();

  void set_lr(float lr) { lr_ = lr; }
  float lr() const { return lr_; }

  // What it keeps, as "momentum_buffer.NAME" of the parameter NAME, and "step"; empty before the first step. For
  // checkpoints.
  std::vector<NamedTensor> state() const;
  // Takes over a copy of what state() gave, bit for bit. An empty list means: no step taken yet. Throws
  // Error(checkpoint) for names and shapes that this optimiser does not keep.
  void load_state(const std::vector<NamedTensor>& state);
  // Changes when something comes to lie elsewhere: a recorded step() must then be recorded anew.
  uint64_t version() const { return version_; }

 protected:
  static constexpr size_t kMaxBuffers = 2;

  struct Kept {
    const char* name;  // of the optimiser, for messages
    // PyTorch's names of what is kept for each parameter: tensors like it. The moments of the rule, in order.
    std::vector<const char*> buffers = {};
    bool counts_steps = false;  // all parameters have taken the same number
  };
  Optimizer(Kept kept, std::vector<NamedParameter> parameters, float lr, WeightDecay decay);
  // The rule and its constants.
  virtual kernels::OptimizerRule rule() const = 0;

 private:
  std::array<Tensor, kMaxBuffers>& buffers_of(size_t parameter);

  const Kept kept_;
  std::vector<NamedParameter> parameters_;
  std::vector<std::array<Tensor, kMaxBuffers>> buffers_;  // of each parameter, undefined until its first step
  Tensor steps_;  // [] i64 on the device, undefined until the first step and for a rule that does not count
  float lr_;
  const WeightDecay decay_;
  uint64_t version_ = 0;
};

}  // namespace engine
