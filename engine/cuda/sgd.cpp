// The optimiser: one launch over all parameters. What it updates is a table on the device, made again only when an
// address changed; the learning rate is in device memory too.
#include <cstring>

#include "engine/cuda/backend.h"
#include "engine/cuda/derived.h"

namespace engine::cuda {
namespace {

// The copy that the optimiser writes along with the parameter: of one type for the whole launch.
RoundedCopy* copy_of(const SgdParameter& parameter, DType dtype) {
  const Storage& owner = parameter.parameter.storage();
  if (!owner.derived) return nullptr;
  for (const auto& copy : std::static_pointer_cast<Derived>(owner.derived)->rounded)
    if (copy->dtype == dtype) return copy.get();
  return nullptr;
}

DType half_type_of(std::span<const SgdParameter> parameters) {
  for (const SgdParameter& parameter : parameters)
    if (copy_of(parameter, DType::f16) != nullptr) return DType::f16;
  return DType::bf16;
}

bool same(const std::vector<kernels::SgdTensor>& a, const std::vector<kernels::SgdTensor>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const bool equal = a[i].parameter == b[i].parameter && a[i].grad == b[i].grad &&
                       a[i].momentum_buffer == b[i].momentum_buffer && a[i].half_copy == b[i].half_copy &&
                       a[i].count == b[i].count && a[i].weight_decay == b[i].weight_decay;
    if (!equal) return false;
  }
  return true;
}

}  // namespace

void CudaBackend::sgd_step(std::span<const SgdParameter> parameters, const SgdStep& step) {
  const DType half = half_type_of(parameters);
  std::vector<kernels::SgdTensor> tensors;
  for (const SgdParameter& p : parameters) {
    RoundedCopy* const copy = copy_of(p, half);
    if (copy != nullptr) copy->version = p.parameter.storage().version();
    tensors.push_back({.parameter = p.parameter.raw<float>(),
                       .grad = p.grad.raw<float>(),
                       .momentum_buffer = pointer_or_null(p.momentum_buffer),
                       .half_copy = copy ? copy->data.as() : nullptr,
                       .count = p.parameter.numel(),
                       .weight_decay = p.weight_decay});
  }
  if (!sgd_table_ || !same(tensors, sgd_tensors_)) {
    const std::vector<kernels::SgdChunk> chunks = kernels::sgd_chunks(tensors);
    sgd_chunks_ = static_cast<int64_t>(chunks.size());
    const size_t bytes = chunks.size() * sizeof(kernels::SgdChunk);
    sgd_table_ = std::make_unique<Scratch>(allocator_, bytes);
    staging_.upload(sgd_table_->as(), chunks.data(), bytes);
    sgd_tensors_ = std::move(tensors);
  }
  const Scratch lr = scratch(sizeof(float));
  staging_.upload(lr.as(), &step.lr, sizeof(float));
  context_.check_launch("sgd_step", kernels().sgd_step({.chunks = sgd_table_->as<kernels::SgdChunk>(),
                                                        .num_chunks = sgd_chunks_,
                                                        .lr = lr.as<float>(),
                                                        .momentum = step.momentum,
                                                        .nesterov = step.nesterov,
                                                        .first = step.first,
                                                        .half_type = half == DType::f16 ? kernels::DataType::f16
                                                                                        : kernels::DataType::bf16},
                                                       stream()));
}

}  // namespace engine::cuda
