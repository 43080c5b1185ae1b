#include "engine/optim/optimizer.h"

#include <utility>

#include "engine/backend.h"
#include "engine/error.h"

namespace engine {
namespace {

constexpr const char* kSteps = "step";

}  // namespace

float WeightDecay::of(ParameterKind kind) const {
  switch (kind) {
    case ParameterKind::norm:
      return norm.value_or(weight);
    case ParameterKind::bias:
      return bias.value_or(weight);
    case ParameterKind::weight:
      return weight;
  }
  return weight;
}

Optimizer::Optimizer(Kept kept, std::vector<NamedParameter> parameters, float lr, WeightDecay decay)
    : kept_(std::move(kept)),
      parameters_(std::move(parameters)),
      buffers_(parameters_.size()),
      lr_(lr),
      decay_(std::move(decay)) {
  check(!parameters_.empty(), kept_.name, ": there are no parameters to optimise");
}

std::array<Tensor, Optimizer::kMaxBuffers>& Optimizer::buffers_of(size_t parameter) {
  std::array<Tensor, kMaxBuffers>& buffers = buffers_[parameter];
  for (size_t i = 0; i < kept_.buffers.size(); ++i) {
    if (buffers[i].defined()) continue;
    // factor * -0 + d is d to the last bit, where +0 would lose the sign of a zero: the first step is like any other.
    const Tensor& like = parameters_[parameter].tensor;
    buffers[i] = Tensor::full(like.shape(), -0.0, {DType::f32, like.device()});
    ++version_;
  }
  return buffers;
}

void Optimizer::step(const StepControl& control) {
  std::vector<OptimizerParameter> updated;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& parameter = parameters_[i].tensor;
    if (!parameter.grad().defined()) continue;
    updated.push_back({.parameter = parameter.detach(),
                       .grad = parameter.grad(),
                       .momentum = buffers_of(i)[0],
                       .second_moment = buffers_of(i)[1],
                       .weight_decay = decay_.of(parameters_[i].kind)});
    parameter.clear_grad();
  }
  if (updated.empty()) return;
  // Before the update: a backend that renews what it derived from a parameter in the same pass says of which version.
  for (OptimizerParameter& parameter : updated) parameter.parameter.storage().bump_version();
  const Device device = updated.front().parameter.device();
  if (kept_.counts_steps && !steps_.defined()) {
    steps_ = Tensor::zeros({}, {DType::i64, device});
    ++version_;
  }
  backend(device).optimizer_step(updated, {.rule = rule(),
                                           .lr = lr_,
                                           .steps = steps_,
                                           .device_lr = control.lr,
                                           .grad_scale = control.grad_scale,
                                           .found = control.found});
}

void Optimizer::replayed() {
  for (NamedParameter& parameter : parameters_) parameter.tensor.storage().bump_version();
}

std::vector<NamedTensor> Optimizer::state() const {
  std::vector<NamedTensor> result;
  for (size_t i = 0; i < parameters_.size(); ++i)
    for (size_t k = 0; k < kept_.buffers.size(); ++k)
      if (buffers_[i][k].defined())
        result.push_back({std::string(kept_.buffers[k]) + "." + parameters_[i].name, buffers_[i][k]});
  if (steps_.defined()) result.push_back({kSteps, steps_});
  return result;
}

void Optimizer::load_state(const std::vector<NamedTensor>& state) {
  const auto slot_of = [&](const std::string& name) -> std::pair<size_t, size_t> {
    for (size_t k = 0; k < kept_.buffers.size(); ++k)
      for (size_t i = 0; i < parameters_.size(); ++i)
        if (name == std::string(kept_.buffers[k]) + "." + parameters_[i].name) return {i, k};
    fail(ErrorKind::checkpoint, kept_.name, "::load_state: ", name,
         " is nothing that this optimiser keeps for this model; was it saved with another --opt?");
  };
  for (auto& buffers : buffers_) buffers = {};
  steps_ = {};
  ++version_;
  for (const NamedTensor& saved : state) {
    if (saved.name == kSteps && kept_.counts_steps && saved.tensor.dtype() == DType::i64 && saved.tensor.numel() == 1) {
      steps_ = saved.tensor.to(parameters_.front().tensor.device()).clone();
      continue;
    }
    const auto [i, k] = slot_of(saved.name);
    const Tensor& parameter = parameters_[i].tensor;
    if (saved.tensor.shape() != parameter.shape())
      fail(ErrorKind::checkpoint, kept_.name, "::load_state: ", saved.name, " has shape ", saved.tensor.shape(),
           ", expected ", parameter.shape());
    buffers_[i][k] = saved.tensor.to(parameter.device()).clone();
  }
}

}  // namespace engine
