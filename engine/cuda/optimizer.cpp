// The optimiser, and the look at the gradients before it: one launch each over all parameters, which read their tables,
// the learning rate and whether to update at all in device memory.
#include <algorithm>

#include "engine/cuda/backend.h"
#include "engine/cuda/derived.h"
#include "engine/cuda/recording.h"

namespace engine::cuda {
namespace {

// The copy that the optimiser writes along with the parameter: of one type for the whole launch.
RoundedCopy* copy_of(const OptimizerParameter& parameter, DType dtype) {
  const Storage& owner = parameter.parameter.storage();
  if (!owner.derived) return nullptr;
  for (const auto& copy : std::static_pointer_cast<Derived>(owner.derived)->rounded)
    if (copy->dtype == dtype) return copy.get();
  return nullptr;
}

DType half_type_of(std::span<const OptimizerParameter> parameters) {
  for (const OptimizerParameter& parameter : parameters)
    if (copy_of(parameter, DType::f16) != nullptr) return DType::f16;
  return DType::bf16;
}

// The kernels find a 32-bit number: the low half of the i64, which is all of it.
uint32_t* found_mark(const Tensor& found) {
  return found.defined() ? found.raw<uint32_t>() : nullptr;
}

}  // namespace

template <class T>
const T* CudaBackend::on_device(DeviceTable<T>& table, std::vector<T> content) {
  const size_t bytes = content.size() * sizeof(T);
  if (recorder_ != nullptr) return static_cast<const T*>(recorder_->keep(content.data(), bytes));
  if (!table.data || table.content != content) {
    table.data = std::make_unique<Scratch>(allocator_, bytes);
    staging_.upload(table.data->as(), content.data(), bytes);
    table.content = std::move(content);
  }
  return table.data->template as<T>();
}

void CudaBackend::optimizer_step(std::span<const OptimizerParameter> parameters, const OptimizerStep& step) {
  const Range range(context_, "optimizer_step");
  const DType half = half_type_of(parameters);
  std::vector<kernels::SgdTensor> tensors;
  for (const OptimizerParameter& p : parameters) {
    RoundedCopy* const copy = copy_of(p, half);
    if (copy != nullptr) copy->version = p.parameter.storage().version();
    tensors.push_back({.parameter = p.parameter.raw<float>(),
                       .grad = p.grad.raw<float>(),
                       .momentum_buffer = pointer_or_null(p.momentum),
                       .half_copy = copy ? copy->data.as() : nullptr,
                       .count = p.parameter.numel(),
                       .weight_decay = p.weight_decay});
  }
  std::vector<kernels::SgdChunk> chunks = kernels::sgd_chunks(tensors);
  const auto num_chunks = static_cast<int64_t>(chunks.size());
  context_.check_launch(
      "optimizer_step",
      kernels().sgd_step(
          {.chunks = on_device(sgd_chunks_, std::move(chunks)),
           .num_chunks = num_chunks,
           .lr = step.device_lr.defined() ? step.device_lr.raw<float>() : on_device(sgd_lr_, std::vector{step.lr}),
           .grad_scale = pointer_or_null(step.grad_scale),
           .skip = found_mark(step.found),
           .momentum = step.momentum,
           .nesterov = step.nesterov,
           .half_type = half == DType::f16 ? kernels::DataType::f16 : kernels::DataType::bf16},
          stream()));
}

void CudaBackend::find_non_finite(std::span<const Tensor> tensors, const Tensor& found) {
  const Range range(context_, "find_non_finite");
  std::vector<kernels::FloatChunk> chunks;
  for (size_t i = 0; i < tensors.size(); ++i)
    for (int64_t begin = 0; begin < tensors[i].numel(); begin += kernels::kSgdChunk)
      chunks.push_back({.data = tensors[i].raw<float>() + begin,
                        .count = static_cast<int32_t>(std::min(kernels::kSgdChunk, tensors[i].numel() - begin)),
                        .mark = static_cast<uint32_t>(tensors.size() - i)});
  context_.check("clearing a flag", context_.runtime().set_bytes(found.raw(), 0, found.bytes(), stream()));
  if (chunks.empty()) return;
  const auto num_chunks = static_cast<int64_t>(chunks.size());
  context_.check_launch("find_non_finite", kernels().find_non_finite({.chunks = on_device(searched_, std::move(chunks)),
                                                                      .num_chunks = num_chunks,
                                                                      .found = found_mark(found)},
                                                                     stream()));
}

}  // namespace engine::cuda
