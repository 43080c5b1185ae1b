#include "engine/ops/loss.h"

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/error.h"
#include "engine/ops/elementwise.h"

namespace engine {
namespace {

void check_loss(const char* op, const Tensor& logits, const Tensor& target, float label_smoothing) {
  check(logits.defined() && logits.shape().rank() == 2 && is_floating(logits.dtype()), op, ": logits have shape ",
        logits.defined() ? logits.shape() : Shape{}, ", expected [N,K] of a float type");
  check(target.defined(), op, ": the target is undefined");
  check(label_smoothing >= 0 && label_smoothing <= 1, op, ": label_smoothing=", label_smoothing, ", expected 0 to 1");
  check(target.device() == logits.device(), op, ": the target is on ", target.device(), ", the logits on ",
        logits.device());
  if (target.dtype() == DType::i64) {
    check(target.shape() == Shape{logits.size(0)}, op, ": labels have shape ", target.shape(), ", but logits ",
          logits.shape(), " expect [", logits.size(0), "]");
    if (target.device().type == DeviceType::cpu) {
      for (const int64_t label : target.values<int64_t>()) {
        if (label < 0 || label >= logits.size(1)) {
          fail(ErrorKind::data, op, ": a label is ", label, ", but logits ", logits.shape(), " have the classes 0 to ",
               logits.size(1) - 1);
        }
      }
    }
  } else {
    check(target.dtype() == DType::f32 && target.shape() == logits.shape(), op, ": probabilities have shape ",
          target.shape(), " of ", target.dtype(), ", expected ", logits.shape(), " of f32 (or labels [N] of i64)");
  }
}

// compute(loss, dlogits) writes both; dlogits is undefined where nobody needs it.
template <class Compute>
Tensor with_gradient(const Tensor& logits, const Compute& compute) {
  const Tensor loss = make_tensor({}, DType::f32, logits.device());
  const Tensor dlogits = needs_grad({logits}) ? make_tensor(logits.shape(), logits.dtype(), logits.device()) : Tensor{};
  compute(loss, dlogits);
  return record(loss, {logits}, [dlogits](const Tensor& dy) { return Tensors{dlogits * dy.to(dlogits.dtype())}; });
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, CrossEntropyOptions options) {
  check_loss("cross_entropy", logits, target, options.label_smoothing);
  return with_gradient(logits, [&](const Tensor& loss, const Tensor& dlogits) {
    backend(logits.device()).softmax_cross_entropy(logits, target, options.label_smoothing, loss, dlogits);
  });
}

Tensor binary_cross_entropy(const Tensor& logits, const Tensor& target, BinaryCrossEntropyOptions options) {
  check_loss("binary_cross_entropy", logits, target, options.label_smoothing);
  const BinaryTargets targets = {
      .label_smoothing = options.label_smoothing, .threshold = options.threshold, .sum_classes = options.sum_classes};
  return with_gradient(logits, [&](const Tensor& loss, const Tensor& dlogits) {
    backend(logits.device()).binary_cross_entropy(logits, target, targets, loss, dlogits);
  });
}

}  // namespace engine
