#pragma once
// Looking for infinities and NaN in many arrays at once, before the optimiser spreads them.
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

// A piece of an array: one block's work.
struct FloatChunk {
  const float* data = nullptr;
  int64_t count = 0;
};

// flags[i] = 1 if chunk i holds an infinity or NaN, else 0.
// Moves: every chunk once, a byte a chunk.
// Needs: chunks and flags on the device. One launch for all chunks; they should be of similar, not too small size.
struct FindNonFinite {
  const FloatChunk* chunks = nullptr;
  int64_t num_chunks = 0;
  uint8_t* flags = nullptr;
};
bool find_non_finite(const FindNonFinite& args, Stream stream);
// For `elements` numbers in all.
Cost find_non_finite_cost(const FindNonFinite& args, int64_t elements);

}  // namespace engine::kernels
