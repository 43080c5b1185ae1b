#include "engine/ops/loss.h"

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/error.h"
#include "engine/ops/elementwise.h"

namespace engine {

Tensor cross_entropy(const Tensor& logits, const Tensor& target, CrossEntropyOptions options) {
  check(logits.defined() && logits.shape().rank() == 2 && is_floating(logits.dtype()),
        "cross_entropy: logits have shape ", logits.defined() ? logits.shape() : Shape{},
        ", expected [N,K] of a float type");
  check(target.defined(), "cross_entropy: the target is undefined");
  check(options.label_smoothing >= 0 && options.label_smoothing <= 1,
        "cross_entropy: label_smoothing=", options.label_smoothing, ", expected 0 to 1");
  check(target.device() == logits.device(), "cross_entropy: the target is on ", target.device(), ", the logits on ",
        logits.device());
  if (target.dtype() == DType::i64) {
    check(target.shape() == Shape{logits.size(0)}, "cross_entropy: labels have shape ", target.shape(), ", but logits ",
          logits.shape(), " expect [", logits.size(0), "]");
    if (target.device().type == DeviceType::cpu) {
      for (const int64_t label : target.values<int64_t>()) {
        if (label < 0 || label >= logits.size(1)) {
          fail(ErrorKind::data, "cross_entropy: a label is ", label, ", but logits ", logits.shape(),
               " have the classes 0 to ", logits.size(1) - 1);
        }
      }
    }
  } else {
    check(target.dtype() == DType::f32 && target.shape() == logits.shape(), "cross_entropy: probabilities have shape ",
          target.shape(), " of ", target.dtype(), ", expected ", logits.shape(), " of f32 (or labels [N] of i64)");
  }

  const Tensor loss = make_tensor({}, DType::f32, logits.device());
  const Tensor dlogits = needs_grad({logits}) ? make_tensor(logits.shape(), logits.dtype(), logits.device()) : Tensor{};
  backend(logits.device()).softmax_cross_entropy(logits, target, options.label_smoothing, loss, dlogits);
  return record(loss, {logits}, [dlogits](const Tensor& dy) { return Tensors{dlogits * dy.to(dlogits.dtype())}; });
}

}  // namespace engine
