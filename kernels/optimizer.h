#pragma once
// Optimisers over all parameters of a net at once. What to update is a table in device memory, made once; the learning
// rate, the factor of the gradients, the number of the step, and whether to update at all, are read from device memory,
// so that a captured graph follows a schedule and a check of the gradients.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/optimizer_rule.h"
#include "kernels/types.h"

namespace engine::kernels {

// One parameter tensor. All device pointers; f32 but for half_copy, which is of OptimizerStep::half_type.
struct OptimizerTensor {
  float* parameter = nullptr;
  const float* grad = nullptr;
  float* momentum = nullptr;       // null: none (sgd and lars without momentum)
  float* second_moment = nullptr;  // adamw and lamb
  void* half_copy = nullptr;       // optional: gets the rounded new parameter
  int64_t count = 0;
  float weight_decay = 0;
  bool operator==(const OptimizerTensor&) const = default;
};

// A piece of a tensor: one block's work. An entry of the table.
inline constexpr int64_t kOptimizerChunk = 4096;
struct OptimizerChunk : OptimizerTensor {
  int32_t first = 0, num = 1;  // the table's entries of the same tensor
  bool operator==(const OptimizerChunk&) const = default;
};

// The table for these tensors; copy it to device memory.
inline std::vector<OptimizerChunk> optimizer_chunks(const std::vector<OptimizerTensor>& tensors) {
  std::vector<OptimizerChunk> chunks;
  for (const OptimizerTensor& tensor : tensors) {
    const auto first = static_cast<int32_t>(chunks.size());
    const auto num = static_cast<int32_t>((tensor.count + kOptimizerChunk - 1) / kOptimizerChunk);
    for (int64_t begin = 0; begin < tensor.count; begin += kOptimizerChunk) {
      OptimizerChunk chunk = {tensor, first, num};
      chunk.parameter += begin;
      chunk.grad += begin;
      if (chunk.momentum) chunk.momentum += begin;
      if (chunk.second_moment) chunk.second_moment += begin;
      if (chunk.half_copy) chunk.half_copy = static_cast<uint16_t*>(chunk.half_copy) + begin;
      chunk.count = tensor.count - begin < kOptimizerChunk ? tensor.count - begin : kOptimizerChunk;
      chunks.push_back(chunk);
    }
  }
  return chunks;
}

// One step by the rule of optimizer_rule.h, where g is *grad_scale times what is read; half_copy = p rounded. A
// momentum buffer holds -0 before its first step (momentum * -0 + d is d to the last bit), a second moment 0. Nothing
// at all is written if *skip is not 0, the number of steps included. Moves: 20 bytes an element for sgd and lars (12
// without momentum), 28 for adamw and lamb; lars reads 8 more before, lamb moves 12 more in between; 2 more with a half
// copy. Norms are summed in a fixed order. Needs: chunks, lr, grad_scale, steps and skip on the device; tensors that
// overlap nothing, each chunk at most kOptimizerChunk elements; half_type bf16 or f16 if there is a half copy. The
// launches cost the same whatever the sizes of the tensors: one block a chunk, one launch for sgd, two for the others,
// three for lamb.
struct OptimizerStep {
  const OptimizerChunk* chunks = nullptr;
  int64_t num_chunks = 0;
  OptimizerRule rule;
  const float* lr = nullptr;
  const float* grad_scale = nullptr;  // optional
  int64_t* steps = nullptr;           // adamw, lamb: the steps taken; goes up by one
  const uint32_t* skip = nullptr;     // optional; what find_non_finite() found
  DataType half_type = DataType::bf16;
  void* workspace = nullptr;  // of optimizer_workspace(), aligned to 4 bytes
};
bool optimizer_step(const OptimizerStep& args, Stream stream);
size_t optimizer_workspace(OptimizerKind kind, int64_t num_chunks);
// For `elements` parameters in all.
Cost optimizer_step_cost(const OptimizerStep& args, int64_t elements, bool half_copies);

}  // namespace engine::kernels
