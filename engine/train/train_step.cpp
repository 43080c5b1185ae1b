#include "engine/train/train_step.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "engine/autograd.h"
#include "engine/data/batch_tensors.h"
#include "engine/error.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/loss.h"

namespace engine {
namespace {

constexpr size_t kMaxListed = 8;

[[noreturn]] void fail_diverged(const Dataset& dataset, const Batch& batch, int64_t step, double lr,
                                const std::string& what) {
  std::ostringstream message;
  message << "training: " << what << " in step " << step << " at a learning rate of " << lr << ", samples";
  const size_t listed = std::min(batch.indices.size(), kMaxListed);
  for (size_t i = 0; i < listed; ++i) {
    message << (i == 0 ? " " : ", ") << batch.indices[i] << " (" << dataset.describe(batch.indices[i]) << ")";
  }
  if (listed < batch.indices.size()) message << " and " << batch.indices.size() - listed << " more";
  message
      << "; no parameter was updated: go on from the last checkpoint with a lower --lr, or a longer --lr-warmup-epochs";
  throw Error(ErrorKind::diverged, message.str());
}

// The name of the first parameter whose gradient holds an infinity or NaN. A sum of finite gradients overflows only
// where a step would be lost anyway.
std::string find_non_finite_gradient(Module& module) {
  const NoGrad no_grad;
  for (const NamedParameter& parameter : module.parameters()) {
    const Tensor& gradient = parameter.tensor.grad();
    if (gradient.defined() && !std::isfinite(sum(gradient).item())) return parameter.name;
  }
  return {};
}

}  // namespace

MetricSums train_step(const TrainableModel& model, Sgd& sgd, Loader& loader, const Dataset& dataset, Batch& batch,
                      int64_t step, double lr, const StepOptions& options) {
  MetricSums sums;
  for (int64_t i = 0; i < options.grad_accum_steps; ++i) {
    if (!loader.next(batch)) fail(ErrorKind::internal, "training: the data ended before step ", step);
    const Tensor logits = model.forward(image_tensor(batch, options.input.normalization, options.input.tensor()));
    const Tensor loss =
        cross_entropy(logits, label_tensor(batch, options.input.device), {.label_smoothing = options.label_smoothing});
    const double value = loss.item();
    if (!std::isfinite(value)) {
      fail_diverged(dataset, batch, step, lr, "the loss is " + std::string(std::isnan(value) ? "NaN" : "infinite"));
    }
    if (options.grad_accum_steps == 1) {
      loss.backward();
    } else {
      loss.backward(
          Tensor::scalar(1.0 / static_cast<double>(options.grad_accum_steps), {DType::f32, options.input.device}));
    }
    sums.add({.loss = value * static_cast<double>(batch.count),
              .correct = count_correct(logits, batch.labels),
              .count = batch.count});
  }
  if (const std::string name = find_non_finite_gradient(*model.module); !name.empty()) {
    fail_diverged(dataset, batch, step, lr, "the gradient of " + name + " is not finite");
  }
  sgd.set_lr(static_cast<float>(lr));
  sgd.step();
  return sums;
}

}  // namespace engine
