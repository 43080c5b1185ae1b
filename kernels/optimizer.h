#pragma once
// Stochastic gradient descent over all parameters in one launch. What to update is a table in device memory, made once;
// the learning rate, the factor of the gradients, and whether to update at all, are read from device memory, so that a
// captured graph follows a schedule and a check of the gradients.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/types.h"

namespace engine::kernels {

// One parameter tensor. All device pointers; f32 but for half_copy, which is of SgdStep::half_type.
struct SgdTensor {
  float* parameter = nullptr;
  const float* grad = nullptr;
  float* momentum_buffer = nullptr;  // null: no momentum
  void* half_copy = nullptr;         // optional: gets the rounded new parameter
  int64_t count = 0;
  float weight_decay = 0;
  bool operator==(const SgdTensor&) const = default;
};

// A piece of a tensor: one block's work. An entry of the table.
inline constexpr int64_t kSgdChunk = 4096;
using SgdChunk = SgdTensor;

// The table for these tensors; copy it to device memory.
inline std::vector<SgdChunk> sgd_chunks(const std::vector<SgdTensor>& tensors) {
  std::vector<SgdChunk> chunks;
  for (const SgdTensor& tensor : tensors)
    for (int64_t begin = 0; begin < tensor.count; begin += kSgdChunk) {
      SgdChunk chunk = tensor;
      chunk.parameter += begin;
      chunk.grad += begin;
      if (chunk.momentum_buffer) chunk.momentum_buffer += begin;
      if (chunk.half_copy) chunk.half_copy = static_cast<uint16_t*>(chunk.half_copy) + begin;
      chunk.count = tensor.count - begin < kSgdChunk ? tensor.count - begin : kSgdChunk;
      chunks.push_back(chunk);
    }
  return chunks;
}

// PyTorch's SGD: d = grad + weight_decay * p;  m = momentum * m + d (m = d if `first`);
//   p -= lr * (nesterov ? d + momentum * m : m);  half_copy = p rounded. Without a momentum buffer p -= lr * d.
// grad is *grad_scale times what is read. Nothing at all is written if *skip is not 0.
// Moves: 20 bytes an element with momentum (12 without), 2 more with a half copy.
// Needs: chunks, lr, grad_scale and skip on the device; tensors that overlap nothing, each chunk at most kSgdChunk
// elements; half_type bf16 or f16 if there is a half copy. Every launch costs the same whatever the sizes of the
// tensors: one block a chunk.
struct SgdStep {
  const SgdChunk* chunks = nullptr;
  int64_t num_chunks = 0;
  const float* lr = nullptr;
  const float* grad_scale = nullptr;  // optional: each gradient is multiplied by it
  const uint32_t* skip = nullptr;     // optional; what find_non_finite() found
  float momentum = 0;
  bool nesterov = false;
  bool first = false;  // momentum buffers hold nothing yet
  DataType half_type = DataType::bf16;
};
bool sgd_step(const SgdStep& args, Stream stream);
// For `elements` parameters in all.
Cost sgd_step_cost(const SgdStep& args, int64_t elements, bool half_copies);

}  // namespace engine::kernels
