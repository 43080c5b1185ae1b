#pragma once
// The exponential moving average of all tensors of a net in one launch.
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

// A piece of a tensor: one block's work.
struct AverageChunk {
  float* average = nullptr;
  const float* value = nullptr;
  int32_t count = 0;
  bool operator==(const AverageChunk&) const = default;
};

// average = decay * average + (1 - decay) * value for every chunk; decay 0 copies, whatever was there.
// Moves: 12 bytes an element, 8 to copy.
// Needs: the table on the device; tensors that overlap nothing; 0 <= decay <= 1. One block a chunk.
struct ModelAverage {
  const AverageChunk* chunks = nullptr;
  int64_t num_chunks = 0;
  float decay = 0;
};
bool model_average(const ModelAverage& args, Stream stream);
// For `elements` numbers in all.
Cost model_average_cost(const ModelAverage& args, int64_t elements);

}  // namespace engine::kernels
