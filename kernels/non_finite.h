#pragma once
// Looking for infinities and NaN in many arrays at once, before the optimiser spreads them.
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

// A piece of an array: one block's work.
struct FloatChunk {
  const float* data = nullptr;
  int32_t count = 0;
  uint32_t mark = 1;
  bool operator==(const FloatChunk&) const = default;
};

// *found = the largest of *found and the marks of the chunks that hold an infinity or NaN. With marks that fall from
// array to array it tells the first one; what else may read it without the host is kernels/optimizer.h.
// Moves: every chunk once.
// squares[i], if given, is the sum of the squares of chunk i, for the norm of all (gradient_norm.h).
// Needs: chunks, found and squares on the device, *found set before. One launch for all chunks; they should be of
// similar, not too small size.
struct FindNonFinite {
  const FloatChunk* chunks = nullptr;
  int64_t num_chunks = 0;
  uint32_t* found = nullptr;
  float* squares = nullptr;  // optional
};
bool find_non_finite(const FindNonFinite& args, Stream stream);
// For `elements` numbers in all.
Cost find_non_finite_cost(const FindNonFinite& args, int64_t elements);

}  // namespace engine::kernels
