#pragma once
// Private to kernels. The tile loop that all convolutions share: C[M,N] = sum over k of A[M,k] B[N,k], where a
// block computes a tile of C. A ring of kStages slots in shared memory holds slices of A and B, kDepth of k deep;
// sources (sources.h) fill them, a multiplier (multiply.h) uses them up.
#include "kernels/gpu.h"

namespace engine::kernels::conv {

constexpr int kThreads = 128;
// Blocks per multiprocessor. Left to itself, ptxas gains one more block by spilling the last few registers.
constexpr int kMinBlocks = 2;
constexpr int kStages = 4;
// Bytes of k in a slice: 32 halves or 16 floats.
constexpr int kDepthBytes = 64;

template <class T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));  // elements in 16 bytes
template <class T>
constexpr int kDepth = kDepthBytes / static_cast<int>(sizeof(T));

__host__ __device__ constexpr int ceil_div(int a, int b) {
  return (a + b - 1) / b;
}
constexpr int larger(int a, int b) {
  return a > b ? a : b;
}

// The tile of C of a block. Tensor cores: kRows x kColumns of its four warps. True f32: of its threads.
template <int kM_, int kN_, int kRows_, int kColumns_>
struct TileShape {
  static constexpr int kM = kM_, kN = kN_, kRows = kRows_, kColumns = kColumns_;
};

// A slice of A (kExtent = kM) or B (kExtent = kN) in shared memory, in rows of 16-byte chunks. Which index runs along a
// row is that which is contiguous in global memory: k, with kExtent rows, or M respectively N, with kDepth rows.
template <class T, gpu::Major kMajor_, int kExtent_>
struct Slice {
  static constexpr gpu::Major kMajor = kMajor_;
  static constexpr int kExtent = kExtent_;
  static constexpr int kRows = kMajor == gpu::Major::k ? kExtent : kDepth<T>;
  static constexpr int kChunks = kMajor == gpu::Major::k ? kDepth<T> / kVector<T> : kExtent / kVector<T>;
  static constexpr int kBytes = kRows * kChunks * 16;
  static_assert(kChunks == 4 || kChunks % 8 == 0);

  // Byte offset. Chunks are permuted so that eight consecutive rows at one chunk lie in different banks.
  static GPU_DEVICE int offset(int row, int chunk) {
    const int swizzled = kChunks == 4 ? chunk ^ ((row >> 1) & 3) : chunk ^ (row & 7);
    return (row * kChunks + swizzled) * 16;
  }

  // Which chunks a thread fills: one column of chunks, kPasses rows.
  static constexpr int kRowsPerPass = kThreads / kChunks;
  static constexpr int kPasses = kRows / kRowsPerPass;
  static_assert(kRows % kRowsPerPass == 0);
  static GPU_DEVICE int chunk_of_thread() { return static_cast<int>(threadIdx.x) % kChunks; }
  static GPU_DEVICE int row_of_thread(int pass) {
    return static_cast<int>(threadIdx.x) / kChunks + pass * kRowsPerPass;
  }
};

template <class SliceA, class SliceB>
constexpr int kRingBytes = kStages*(SliceA::kBytes + SliceB::kBytes);

// Calls use(slice of A, slice of B) for each of `num_slices` slices in order; `a` and `b` load the next slice at each
// call of load(). Ends behind a barrier: the ring's memory is free.
template <class SliceA, class SliceB, class SourceA, class SourceB, class Use>
GPU_DEVICE void for_each_slice(char* ring, SourceA& a, SourceB& b, int num_slices, const Use& use) {
  constexpr int kSlotBytes = SliceA::kBytes + SliceB::kBytes;
  const auto load = [&](int slice) {
    char* slot = ring + slice % kStages * kSlotBytes;
    if (slice < num_slices) {
      a.load(slot);
      b.load(slot + SliceA::kBytes);
    }
    // Empty groups keep the count of groups equal to the count of slices.
    gpu::cp_async_commit();
  };
  for (int slice = 0; slice < kStages - 1; ++slice) load(slice);
#pragma unroll 1
  for (int slice = 0; slice < num_slices; ++slice) {
    gpu::cp_async_wait<kStages - 2>();
    // All threads' parts of this slice have arrived, and all have used up the slot that is loaded next.
    __syncthreads();
    load(slice + kStages - 1);
    const char* slot = ring + slice % kStages * kSlotBytes;
    use(slot, slot + SliceA::kBytes);
  }
  gpu::cp_async_wait<0>();
  // All threads have used up the last slices.
  __syncthreads();
}

// 16 bytes put together element by element; e has to be a constant after unrolling.
template <class T>
struct Chunk {
  uint32_t words[4] = {0, 0, 0, 0};

  GPU_DEVICE void set(int e, T value) {
    if constexpr (sizeof(T) == 4)
      words[e] = __float_as_uint(value);
    else
      words[e / 2] |= static_cast<uint32_t>(value.bits) << (e % 2 * 16);
  }
  GPU_DEVICE void store(void* address) const {
    gpu::stg16(address, make_uint4(words[0], words[1], words[2], words[3]));
  }
};

}  // namespace engine::kernels::conv
