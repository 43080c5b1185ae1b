// The optimiser, and the look at the gradients before it: launches over all parameters at once, which read their
// tables, the learning rate and whether to update at all in device memory.
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
  std::vector<kernels::OptimizerTensor> tensors;
  for (const OptimizerParameter& p : parameters) {
    RoundedCopy* const copy = copy_of(p, half);
    if (copy != nullptr) copy->version = p.parameter.storage().version();
    tensors.push_back({.parameter = p.parameter.raw<float>(),
                       .grad = p.grad.raw<float>(),
                       .momentum = pointer_or_null(p.momentum),
                       .second_moment = pointer_or_null(p.second_moment),
                       .half_copy = copy ? copy->data.as() : nullptr,
                       .count = p.parameter.numel(),
                       .weight_decay = p.weight_decay});
  }
  std::vector<kernels::OptimizerChunk> chunks = kernels::optimizer_chunks(tensors);
  const auto num_chunks = static_cast<int64_t>(chunks.size());
  const Scratch workspace = scratch(kernels().optimizer_workspace(step.rule.kind, num_chunks));
  context_.check_launch(
      "optimizer_step",
      kernels().optimizer_step(
          {.chunks = on_device(optimizer_chunks_, std::move(chunks)),
           .num_chunks = num_chunks,
           .rule = step.rule,
           .lr = step.device_lr.defined() ? step.device_lr.raw<float>() : on_device(lr_, std::vector{step.lr}),
           .grad_scale = pointer_or_null(step.grad_scale),
           .steps = pointer_or_null<int64_t>(step.steps),
           .skip = found_mark(step.found),
           .half_type = half == DType::f16 ? kernels::DataType::f16 : kernels::DataType::bf16,
           .workspace = workspace.as()},
          stream()));
}

int64_t CudaBackend::search(const std::vector<Tensor>& tensors, size_t num_squared, const Tensor& found,
                            std::unique_ptr<Scratch>* squares) {
  std::vector<kernels::FloatChunk> chunks;
  int64_t squared = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    for (int64_t begin = 0; begin < tensors[i].numel(); begin += kernels::kOptimizerChunk)
      chunks.push_back({.data = tensors[i].raw<float>() + begin,
                        .count = static_cast<int32_t>(std::min(kernels::kOptimizerChunk, tensors[i].numel() - begin)),
                        .mark = static_cast<uint32_t>(tensors.size() - i)});
    if (i < num_squared) squared = static_cast<int64_t>(chunks.size());
  }
  context_.check("clearing a flag", context_.runtime().set_bytes(found.raw(), 0, found.bytes(), stream()));
  if (chunks.empty()) return 0;
  const auto num_chunks = static_cast<int64_t>(chunks.size());
  if (squares != nullptr) *squares = std::make_unique<Scratch>(allocator_, chunks.size() * sizeof(float));
  context_.check_launch("find_non_finite",
                        kernels().find_non_finite({.chunks = on_device(searched_, std::move(chunks)),
                                                   .num_chunks = num_chunks,
                                                   .found = found_mark(found),
                                                   .squares = squares ? (*squares)->as<float>() : nullptr},
                                                  stream()));
  return squared;
}

void CudaBackend::find_non_finite(std::span<const Tensor> tensors, const Tensor& found) {
  const Range range(context_, "find_non_finite");
  search({tensors.begin(), tensors.end()}, 0, found, nullptr);
}

void CudaBackend::check_gradients(const GradientCheck& check) {
  const Range range(context_, "check_gradients");
  std::vector<Tensor> tensors(check.gradients.begin(), check.gradients.end());
  if (check.loss.defined()) tensors.push_back(check.loss);
  std::unique_ptr<Scratch> squares;
  const int64_t num = search(tensors, check.gradients.size(), check.found, &squares);
  context_.check_launch("gradient_norm", kernels().gradient_norm({.squares = squares ? squares->as<float>() : nullptr,
                                                                  .num = num,
                                                                  .unscale = pointer_or_null(check.unscale),
                                                                  .max_norm = check.max_norm,
                                                                  .norm = check.norm.raw<float>(),
                                                                  .grad_scale = check.grad_scale.raw<float>()},
                                                                 stream()));
}

void CudaBackend::average(std::span<const AveragedTensor> tensors, float decay) {
  const Range range(context_, "average");
  std::vector<kernels::AverageChunk> chunks;
  for (const AveragedTensor& tensor : tensors)
    for (int64_t begin = 0; begin < tensor.value.numel(); begin += kernels::kOptimizerChunk)
      chunks.push_back(
          {.average = tensor.average.raw<float>() + begin,
           .value = tensor.value.raw<float>() + begin,
           .count = static_cast<int32_t>(std::min(kernels::kOptimizerChunk, tensor.value.numel() - begin))});
  const auto num_chunks = static_cast<int64_t>(chunks.size());
  if (num_chunks == 0) return;
  context_.check_launch(
      "average",
      kernels().model_average(
          {.chunks = on_device(averaged_, std::move(chunks)), .num_chunks = num_chunks, .decay = decay}, stream()));
}

}  // namespace engine::cuda
