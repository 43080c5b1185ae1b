#pragma once
// ldmatrix and mma.sync m16n8k16, m16n8k8 of TF32, with f32 sums, in the GPU's register layout.
#include <bit>
#include <type_traits>

#include "kernels/emulator/thread_view.h"
#include "kernels/types.h"

namespace engine::kernels::emulator {

void load_matrices(uint32_t* registers, bool transposed, const void* row, Site site);
void multiply_bf16(int rows, int columns, float* d, const uint32_t* a, const uint32_t* b, Site site);
void multiply_f16(int rows, int columns, float* d, const uint32_t* a, const uint32_t* b, Site site);
void multiply_tf32(int rows, int columns, float* d, const uint32_t* a, const uint32_t* b, Site site);

}  // namespace engine::kernels::emulator

namespace engine::kernels::gpu {

// Four 8x8 matrices of 16-bit elements; lane i gives the address of row i%8 of matrix i/8, 16-byte aligned.
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, emulator::Site site = emulator::Site::current()) {
  emulator::load_matrices(r, false, row, site);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, emulator::Site site = emulator::Site::current()) {
  emulator::load_matrices(r, true, row, site);
}

// d += a b for MT x NT tiles of 16x8, k = 16; T is bf16 or f16. One rendezvous of the warp for all of them.
template <class T, int MT, int NT>
void mma_tile(float (&d)[MT][NT][4], const uint32_t (&a)[MT][4], const uint32_t (&b)[NT][2],
              emulator::Site site = emulator::Site::current()) {
  if constexpr (std::is_same_v<T, bf16>) {
    emulator::multiply_bf16(MT, NT, &d[0][0][0], &a[0][0], &b[0][0], site);
  } else {
    static_assert(std::is_same_v<T, f16>, "mma_tile multiplies bf16 or f16");
    emulator::multiply_f16(MT, NT, &d[0][0][0], &a[0][0], &b[0][0], site);
  }
}

inline uint32_t round_tf32(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7fffffffu;
  return magnitude == 0x7f800000u ? bits : (bits + 0x1000u) & ~0x1fffu;
}

// d += a b for MT x NT tiles of 16x8, k = 8. The lowest 13 bits of the operands do not count.
template <int MT, int NT>
void mma_tile_tf32(float (&d)[MT][NT][4], const uint32_t (&a)[MT][4], const uint32_t (&b)[NT][2],
                   emulator::Site site = emulator::Site::current()) {
  emulator::multiply_tf32(MT, NT, &d[0][0][0], &a[0][0], &b[0][0], site);
}

}  // namespace engine::kernels::gpu
