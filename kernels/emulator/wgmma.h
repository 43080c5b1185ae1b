#pragma once
// The warpgroup products of sm_90a, d (64 x N, f32) = a (64 x 16) * b (16 x N) [+ d], and stmatrix.
#include <type_traits>

#include "kernels/emulator/thread_view.h"
#include "kernels/gpu/tensor_map.h"
#include "kernels/types.h"

namespace engine::kernels::emulator {

// What one thread hands to a product. Without a_registers, A is in shared memory.
struct WarpgroupProduct {
  DataType type = DataType::bf16;
  int columns = 0;  // N; the thread holds N / 2 sums
  float* d = nullptr;
  const uint32_t* a_registers = nullptr;
  uint64_t a = 0, b = 0;  // descriptors
  gpu::Major a_major = gpu::Major::k, b_major = gpu::Major::k;
  bool accumulate = true;
};

void warpgroup_fence();
void warpgroup_multiply(const WarpgroupProduct& product, Site site);
void warpgroup_commit(Site site);
void warpgroup_wait(int pending_groups, Site site);
void store_matrices(void* row, const uint32_t* registers, bool transposed, Site site);

}  // namespace engine::kernels::emulator

namespace engine::kernels::gpu {

// Orders registers (d, and a where it is in registers) before the products that follow.
inline void wgmma_fence() {
  emulator::warpgroup_fence();
}
inline void wgmma_commit(emulator::Site site = emulator::Site::current()) {
  emulator::warpgroup_commit(site);
}
// Until at most the last N groups are unfinished; only then d may be touched, and shared operands overwritten.
template <int N>
void wgmma_wait(emulator::Site site = emulator::Site::current()) {
  emulator::warpgroup_wait(N, site);
}

// `a` and `b` are descriptors by smem_desc(). Lane l of warp i holds in d[4 * j + 2 * h + e] the sum of row
// 16 * i + l / 4 + 8 * h and column 8 * j + l % 4 * 2 + e.
template <class T, Major A = Major::k, Major B = Major::k, int SIZE>
void wgmma(float (&d)[SIZE], uint64_t a, uint64_t b, bool accumulate, emulator::Site site = emulator::Site::current()) {
  static_assert(SIZE == 32 || SIZE == 64 || SIZE == 128, "N is 64, 128 or 256");
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>, "operands are bf16 or f16");
  emulator::warpgroup_multiply({.type = std::is_same_v<T, bf16> ? DataType::bf16 : DataType::f16,
                                .columns = 2 * SIZE,
                                .d = d,
                                .a = a,
                                .b = b,
                                .a_major = A,
                                .b_major = B,
                                .accumulate = accumulate},
                               site);
}

// The same with A in registers, in the layout of mma_tile for the 16 rows of each warp.
template <class T, Major B = Major::k, int SIZE>
void wgmma(float (&d)[SIZE], const uint32_t (&a)[4], uint64_t b, bool accumulate,
           emulator::Site site = emulator::Site::current()) {
  static_assert(SIZE == 32 || SIZE == 64 || SIZE == 128, "N is 64, 128 or 256");
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>, "operands are bf16 or f16");
  emulator::warpgroup_multiply({.type = std::is_same_v<T, bf16> ? DataType::bf16 : DataType::f16,
                                .columns = 2 * SIZE,
                                .d = d,
                                .a_registers = a,
                                .b = b,
                                .b_major = B,
                                .accumulate = accumulate},
                               site);
}

// Four 8x8 matrices of 16-bit elements, the inverse of ldmatrix: lane i gives the address of row i % 8 of matrix i / 8.
inline void stmatrix_x4(void* row, const uint32_t (&r)[4], emulator::Site site = emulator::Site::current()) {
  emulator::store_matrices(row, r, false, site);
}
inline void stmatrix_x4_trans(void* row, const uint32_t (&r)[4], emulator::Site site = emulator::Site::current()) {
  emulator::store_matrices(row, r, true, site);
}

// Registers are not modelled.
template <int R>
void setmaxnreg_inc() {
  static_assert(R >= 24 && R <= 256 && R % 8 == 0, "setmaxnreg takes 24, 32, ... 256");
}
template <int R>
void setmaxnreg_dec() {
  static_assert(R >= 24 && R <= 256 && R % 8 == 0, "setmaxnreg takes 24, 32, ... 256");
}

}  // namespace engine::kernels::gpu
