#include "engine/train/checked_step.h"

#include <utility>

#include "engine/backend.h"
#include "engine/error.h"

namespace engine {

CheckedStep::CheckedStep(std::vector<NamedParameter> parameters, const CheckedStepOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  check(!parameters_.empty(), "CheckedStep: there are no parameters");
  check(options.max_norm >= 0, "CheckedStep: max_norm is ", options.max_norm, ", expected 0 (not clipped) or more");
}

void CheckedStep::backward(const Tensor& loss) const {
  if (!options_.scale_loss) return loss.backward();
  loss.backward(Tensor::full(loss.shape(), loss_scale_.scale, {loss.dtype(), loss.device()}));
}

bool CheckedStep::step(Optimizer& optimizer) {
  Tensors gradients;
  std::vector<const std::string*> names;
  for (const NamedParameter& parameter : parameters_) {
    if (!parameter.tensor.grad().defined()) continue;
    gradients.push_back(parameter.tensor.grad());
    names.push_back(&parameter.name);
  }
  check(!gradients.empty(), "CheckedStep: no parameter has a gradient; call backward() first");
  const Device device = gradients.front().device();
  const Tensor found = Tensor::empty({}, {DType::i64, device});
  const Tensor norm = Tensor::empty({}, {.device = device}), grad_scale = Tensor::empty({}, {.device = device});
  const double scale = options_.scale_loss ? loss_scale_.scale : 1;
  backend(device).check_gradients({.gradients = gradients,
                                   .loss = {},
                                   .unscale = Tensor::scalar(1 / scale, {.device = device}),
                                   .max_norm = options_.max_norm,
                                   .found = found,
                                   .norm = norm,
                                   .grad_scale = grad_scale});
  optimizer.step({.lr = {}, .grad_scale = grad_scale, .found = found});
  norm_ = norm.item();
  const auto position = static_cast<size_t>(found.item());  // counted from the last one
  const bool finite = position == 0;
  if (options_.scale_loss) loss_scale_ = next_loss_scale(loss_scale_, finite);
  if (!finite && (!options_.scale_loss || loss_scale_.overflows > kMaxOverflows))
    fail(ErrorKind::diverged, "CheckedStep: the gradient of ", *names[names.size() - position], " is not finite",
         options_.scale_loss ? ", whatever the loss is scaled by" : "",
         "; use a lower learning rate or clip with max_norm");
  return finite;
}

}  // namespace engine
