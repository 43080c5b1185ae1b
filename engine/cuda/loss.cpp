#include "engine/cuda/backend.h"

namespace engine::cuda {

void CudaBackend::softmax_cross_entropy(const Tensor& logits, const Tensor& target, float label_smoothing,
                                        const Tensor& loss, const Tensor& dlogits) {
  const Range range(context_, "softmax_cross_entropy");
  const bool hard = target.dtype() == DType::i64;
  const Scratch workspace = scratch(kernels().softmax_cross_entropy_workspace(logits.size(0)));
  context_.check_launch("cross_entropy",
                        kernels().softmax_cross_entropy({.n = logits.size(0),
                                                         .k = logits.size(1),
                                                         .type = data_type("cross_entropy", logits),
                                                         .logits = logits.raw(),
                                                         .labels = hard ? target.raw<int64_t>() : nullptr,
                                                         .probabilities = hard ? nullptr : target.raw<float>(),
                                                         .label_smoothing = label_smoothing,
                                                         .loss = loss.raw<float>(),
                                                         .dlogits = pointer_or_null<void>(dlogits),
                                                         .workspace = workspace.as()},
                                                        stream()));
}

void CudaBackend::binary_cross_entropy(const Tensor& logits, const Tensor& target, const BinaryTargets& targets,
                                       const Tensor& loss, const Tensor& dlogits) {
  const Range range(context_, "binary_cross_entropy");
  const bool hard = target.dtype() == DType::i64;
  const Scratch workspace = scratch(kernels().softmax_cross_entropy_workspace(logits.size(0)));
  context_.check_launch("binary_cross_entropy",
                        kernels().binary_cross_entropy({.n = logits.size(0),
                                                        .k = logits.size(1),
                                                        .type = data_type("binary_cross_entropy", logits),
                                                        .logits = logits.raw(),
                                                        .labels = hard ? target.raw<int64_t>() : nullptr,
                                                        .probabilities = hard ? nullptr : target.raw<float>(),
                                                        .label_smoothing = targets.label_smoothing,
                                                        .binary = targets.threshold.has_value(),
                                                        .threshold = targets.threshold.value_or(0),
                                                        .sum_classes = targets.sum_classes,
                                                        .loss = loss.raw<float>(),
                                                        .dlogits = pointer_or_null<void>(dlogits),
                                                        .workspace = workspace.as()},
                                                       stream()));
}

}  // namespace engine::cuda
