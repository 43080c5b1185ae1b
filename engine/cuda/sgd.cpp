// The optimiser, and the look at the gradients before it: one launch each over all parameters. What it updates is a
// table on the device, made again only when an address changed; the learning rate is in device memory too.
#include <algorithm>

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
  const Range range(context_, "sgd_step");
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

int64_t CudaBackend::first_non_finite(std::span<const Tensor> tensors) {
  const Range range(context_, "first_non_finite");
  std::vector<kernels::FloatChunk> chunks;
  std::vector<int64_t> owners;
  for (size_t i = 0; i < tensors.size(); ++i)
    for (int64_t begin = 0; begin < tensors[i].numel(); begin += kernels::kSgdChunk) {
      chunks.push_back({tensors[i].raw<float>() + begin, std::min(kernels::kSgdChunk, tensors[i].numel() - begin)});
      owners.push_back(static_cast<int64_t>(i));
    }
  if (chunks.empty()) return -1;
  const auto equal = [](const kernels::FloatChunk& a, const kernels::FloatChunk& b) {
    return a.data == b.data && a.count == b.count;
  };
  if (!search_table_ || !std::equal(chunks.begin(), chunks.end(), searched_.begin(), searched_.end(), equal)) {
    const size_t bytes = chunks.size() * sizeof(kernels::FloatChunk);
    search_table_ = std::make_unique<Scratch>(allocator_, bytes);
    staging_.upload(search_table_->as(), chunks.data(), bytes);
    searched_ = std::move(chunks);
    searched_owner_ = std::move(owners);
  }
  const Scratch flags = scratch(searched_.size());
  context_.check_launch("searching infinities",
                        kernels().find_non_finite({.chunks = search_table_->as<kernels::FloatChunk>(),
                                                   .num_chunks = static_cast<int64_t>(searched_.size()),
                                                   .flags = flags.as<uint8_t>()},
                                                  stream()));
  std::vector<uint8_t> found(searched_.size());
  download(found.data(), flags.as(), found.size());
  const auto first = std::find(found.begin(), found.end(), uint8_t{1});
  return first == found.end() ? -1 : searched_owner_[static_cast<size_t>(first - found.begin())];
}

}  // namespace engine::cuda
