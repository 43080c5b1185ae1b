#pragma once
// Part of kernels/gpu/ptx.h: the warpgroup products of sm_90a, d (64 x N, f32) = a (64 x 16) * b (16 x N) [+ d].
#include <cstdint>
#include <type_traits>

#include "kernels/gpu/tensor_map.h"
#include "kernels/types.h"

namespace engine::kernels::gpu {

// Orders registers (d, and a where it is in registers) before the products that follow.
GPU_PTX void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
GPU_PTX void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most the last N groups are unfinished; only then d may be touched, and shared operands overwritten.
template <int N>
GPU_PTX void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

template <int R>
GPU_PTX void setmaxnreg_inc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(R));
}
template <int R>
GPU_PTX void setmaxnreg_dec() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(R));
}

// clang-format off
// Operands of the instruction by their numbers: inline PTX has no names for them.
#define GPU_NUMBERS_0 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define GPU_NUMBERS_32 \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define GPU_NUMBERS_64 \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define GPU_NUMBERS_96 \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define GPU_NUMBERS_TO_32 GPU_NUMBERS_0
#define GPU_NUMBERS_TO_64 GPU_NUMBERS_0 ", " GPU_NUMBERS_32
#define GPU_NUMBERS_TO_128 GPU_NUMBERS_TO_64 ", " GPU_NUMBERS_64 ", " GPU_NUMBERS_96
#define GPU_SUMS_8(i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define GPU_SUMS_32(i) GPU_SUMS_8(i), GPU_SUMS_8(i + 8), GPU_SUMS_8(i + 16), GPU_SUMS_8(i + 24)
#define GPU_SUMS_TO_32 GPU_SUMS_32(0)
#define GPU_SUMS_TO_64 GPU_SUMS_32(0), GPU_SUMS_32(32)
#define GPU_SUMS_TO_128 GPU_SUMS_TO_64, GPU_SUMS_32(64), GPU_SUMS_32(96)

// A and B in shared memory. SIZE registers of sums; the operands behind them are numbered A, B, ACCUMULATE, TA, TB.
#define GPU_WGMMA_SHARED(N, TYPE, SIZE, A, B, ACCUMULATE, TA, TB) \
  asm volatile( \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %" ACCUMULATE ", 0;\n" \
      "wgmma.mma_async.sync.aligned.m64n" N "k16.f32." TYPE "." TYPE " {" GPU_NUMBERS_TO_##SIZE "}, " \
      "%" A ", %" B ", p, 1, 1, %" TA ", %" TB ";\n}" \
      : GPU_SUMS_TO_##SIZE \
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(kTransposeA), "n"(kTransposeB))

// A in registers, in the layout of mma_tile: lane, row and column of each warp's 16 rows.
#define GPU_WGMMA_REGISTERS(N, TYPE, SIZE, A0, A1, A2, A3, B, ACCUMULATE, TB) \
  asm volatile( \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %" ACCUMULATE ", 0;\n" \
      "wgmma.mma_async.sync.aligned.m64n" N "k16.f32." TYPE "." TYPE " {" GPU_NUMBERS_TO_##SIZE "}, " \
      "{%" A0 ", %" A1 ", %" A2 ", %" A3 "}, %" B ", p, 1, 1, %" TB ";\n}" \
      : GPU_SUMS_TO_##SIZE \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)), "n"(kTransposeB))
// clang-format on

// `a` and `b` are descriptors by smem_desc(). Lane l of warp i holds in d[4 * j + 2 * h + e] the sum of row
// 16 * i + l / 4 + 8 * h and column 8 * j + l % 4 * 2 + e.
template <class T, Major A = Major::k, Major B = Major::k, int SIZE>
GPU_PTX void wgmma(float (&d)[SIZE], uint64_t a, uint64_t b, bool accumulate) {
  static_assert(SIZE == 32 || SIZE == 64 || SIZE == 128, "N is 64, 128 or 256");
  constexpr int kTransposeA = A == Major::mn, kTransposeB = B == Major::mn;
  if constexpr (std::is_same_v<T, bf16>) {
    if constexpr (SIZE == 32) GPU_WGMMA_SHARED("64", "bf16", 32, "32", "33", "34", "35", "36");
    if constexpr (SIZE == 64) GPU_WGMMA_SHARED("128", "bf16", 64, "64", "65", "66", "67", "68");
    if constexpr (SIZE == 128) GPU_WGMMA_SHARED("256", "bf16", 128, "128", "129", "130", "131", "132");
  } else {
    static_assert(std::is_same_v<T, f16>, "operands are bf16 or f16");
    if constexpr (SIZE == 32) GPU_WGMMA_SHARED("64", "f16", 32, "32", "33", "34", "35", "36");
    if constexpr (SIZE == 64) GPU_WGMMA_SHARED("128", "f16", 64, "64", "65", "66", "67", "68");
    if constexpr (SIZE == 128) GPU_WGMMA_SHARED("256", "f16", 128, "128", "129", "130", "131", "132");
  }
}

// The same with A in registers.
template <class T, Major B = Major::k, int SIZE>
GPU_PTX void wgmma(float (&d)[SIZE], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  static_assert(SIZE == 32 || SIZE == 64 || SIZE == 128, "N is 64, 128 or 256");
  constexpr int kTransposeB = B == Major::mn;
  if constexpr (std::is_same_v<T, bf16>) {
    if constexpr (SIZE == 32) GPU_WGMMA_REGISTERS("64", "bf16", 32, "32", "33", "34", "35", "36", "37", "38");
    if constexpr (SIZE == 64) GPU_WGMMA_REGISTERS("128", "bf16", 64, "64", "65", "66", "67", "68", "69", "70");
    if constexpr (SIZE == 128) GPU_WGMMA_REGISTERS("256", "bf16", 128, "128", "129", "130", "131", "132", "133", "134");
  } else {
    static_assert(std::is_same_v<T, f16>, "operands are bf16 or f16");
    if constexpr (SIZE == 32) GPU_WGMMA_REGISTERS("64", "f16", 32, "32", "33", "34", "35", "36", "37", "38");
    if constexpr (SIZE == 64) GPU_WGMMA_REGISTERS("128", "f16", 64, "64", "65", "66", "67", "68", "69", "70");
    if constexpr (SIZE == 128) GPU_WGMMA_REGISTERS("256", "f16", 128, "128", "129", "130", "131", "132", "133", "134");
  }
}

#undef GPU_WGMMA_SHARED
#undef GPU_WGMMA_REGISTERS
#undef GPU_SUMS_TO_128
#undef GPU_SUMS_TO_64
#undef GPU_SUMS_TO_32
#undef GPU_SUMS_32
#undef GPU_SUMS_8
#undef GPU_NUMBERS_TO_128
#undef GPU_NUMBERS_TO_64
#undef GPU_NUMBERS_TO_32
#undef GPU_NUMBERS_96
#undef GPU_NUMBERS_64
#undef GPU_NUMBERS_32
#undef GPU_NUMBERS_0

}  // namespace engine::kernels::gpu
