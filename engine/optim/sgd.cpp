#include "engine/optim/sgd.h"

#include <utility>

#include "engine/backend.h"
#include "engine/error.h"

namespace engine {

Sgd::Sgd(std::vector<NamedParameter> parameters, SgdOptions options)
    : parameters_(std::move(parameters)), momentum_(parameters_.size()), options_(options) {
  check(!parameters_.empty(), "Sgd: there are no parameters to optimise");
  check(options.momentum >= 0 && options.momentum < 1, "Sgd: momentum=", options.momentum,
        ", expected 0 <= momentum < 1");
  check(!options.nesterov || options.momentum > 0, "Sgd: nesterov needs a momentum above 0");
}

float Sgd::weight_decay_of(ParameterKind kind) const {
  switch (kind) {
    case ParameterKind::norm:
      return options_.norm_weight_decay.value_or(options_.weight_decay);
    case ParameterKind::bias:
      return options_.bias_weight_decay.value_or(options_.weight_decay);
    case ParameterKind::weight:
      return options_.weight_decay;
  }
  return options_.weight_decay;
}

void Sgd::step(const SgdControl& control) {
  std::vector<SgdParameter> updated;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& parameter = parameters_[i].tensor;
    if (!parameter.grad().defined()) continue;
    if (!momentum_[i].defined() && options_.momentum > 0) {
      // momentum * -0 + d is d to the last bit, where +0 would lose the sign of a zero: the first step is like any
      // other.
      momentum_[i] = Tensor::full(parameter.shape(), -0.0, {DType::f32, parameter.device()});
      ++version_;
    }
    updated.push_back({.parameter = parameter.detach(),
                       .grad = parameter.grad(),
                       .momentum_buffer = momentum_[i],
                       .weight_decay = weight_decay_of(parameters_[i].kind)});
    parameter.clear_grad();
  }
  if (updated.empty()) return;
  // Before the update: a backend that renews what it derived from a parameter in the same pass says of which version.
  for (SgdParameter& parameter : updated) parameter.parameter.storage().bump_version();
  backend(updated.front().parameter.device())
      .sgd_step(updated, {.lr = options_.lr,
                          .momentum = options_.momentum,
                          .nesterov = options_.nesterov,
                          .device_lr = control.lr,
                          .found = control.found});
}

void Sgd::replayed() {
  for (NamedParameter& parameter : parameters_) parameter.tensor.storage().bump_version();
}

std::vector<NamedTensor> Sgd::state() const {
  std::vector<NamedTensor> result;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (momentum_[i].defined()) result.push_back({parameters_[i].name, momentum_[i]});
  }
  return result;
}

void Sgd::load_state(const std::vector<NamedTensor>& state) {
  for (Tensor& buffer : momentum_) buffer = {};
  ++version_;
  for (const NamedTensor& saved : state) {
    size_t i = 0;
    while (i < parameters_.size() && parameters_[i].name != saved.name) ++i;
    check(i < parameters_.size(), "Sgd::load_state: there is no parameter named ", saved.name);
    check(saved.tensor.shape() == parameters_[i].tensor.shape(), "Sgd::load_state: the momentum of ", saved.name,
          " has shape ", saved.tensor.shape(), ", expected ", parameters_[i].tensor.shape());
    momentum_[i] = saved.tensor.to(parameters_[i].tensor.device()).clone();
  }
}

}  // namespace engine
