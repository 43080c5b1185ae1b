#pragma once
// The language of device code, the one header that a .cu file includes besides plain ones. Each wrapper has two bodies:
// kernels/gpu/ (nvcc, one instruction each) and kernels/emulator/ (g++, runs on the CPU and checks how it is used).
//
// CUDA's own names work on both sides: threadIdx, __syncthreads, __shfl_xor_sync, atomicAdd on integers, float4, min...
// Beyond them a kernel uses what namespace gpu offers:
//
//   GPU_DEVICE                             a device function, inlined
//   GPU_SHARED(T, name, N);                static shared memory: T name[N], 16-byte aligned
//   char* dyn_smem()                       the dynamic shared memory, 1024-byte aligned
//   uint32_t smem_u32(p)                   address of p inside shared memory
//   bool launch(kernel, {.grid, .block, .shared_bytes, .stream}, arguments...)
//
//   float to_float(v), T from_float<T>(x)            float, bf16, f16; round to nearest even (write gpu::to_float(v):
//                                                    without gpu:: the overloads for host code are found, too)
//   uint32_t pack2<T>(low, high), float2 unpack2<T>(u)   two values of bf16 or f16 in a register
//   uint4 ldg16(p), stg16(p, v)                      16 aligned bytes of global memory; ldg16: nothing writes them
//   cp_async4/8/16(shared, global, ok), cp_async_commit(), cp_async_wait<N>()   ok = false fills with zeros
//   ldmatrix_x4(r, row), ldmatrix_x4_trans(r, row)   four 8x8 matrices of 16-bit elements, lane i names row i
//   mma_tile<T>(d, a, b)                             MT x NT products m16n8k16, d += a * b in f32
//   uint32_t round_tf32(x)                           x in TF32 (8 exponent bits, 10 fraction bits), ties away from zero
//   mma_tile_tf32(d, a, b)                           MT x NT products m16n8k8 of such values, d += a * b in f32
//   bar_sync<ID>(n), bar_arrive<ID>(n)               named barrier of n threads, ID 1..15
//
// and inside #ifdef GPU_SM90 (code for sm_80 gets an empty body):
//
//   mbar_init(b, count), mbar_arrive(b), mbar_arrive_expect_tx(b, bytes), mbar_wait(b, parity), fence_mbar_init()
//   tma_load(&map, b, shared, {c0, ...}), tma_load_im2col(&map, b, shared, {c, w, h, n}, {offset_w, offset_h})
//   tma_store(&map, shared, {c0, ...}), tma_store_commit(), tma_store_wait_read<N>(), fence_proxy_async()
//   wgmma<T, A major, B major>(d, descriptor a or registers a, descriptor b, accumulate): m64nNk16, N = 2 * size of d
//   wgmma_fence(), wgmma_commit(), wgmma_wait<N>(), stmatrix_x4(row, r), stmatrix_x4_trans(row, r)
//   setmaxnreg_inc<R>(), setmaxnreg_dec<R>()
//
// Never in a kernel: <<<>>>, asm, extern __shared__, __constant__ (neither compiles as C++), a return before a barrier,
// float atomics (their order, hence the result, would vary).
#include "kernels/gpu/tensor_map.h"
#include "kernels/types.h"

#ifdef __CUDACC__
#include "kernels/gpu/ptx.h"
#else
#include "kernels/emulator/gpu.h"
#include "kernels/emulator/mbarrier.h"
#include "kernels/emulator/tma.h"
#include "kernels/emulator/wgmma.h"
#endif

#define GPU_DEVICE __device__ __forceinline__

namespace engine::kernels::gpu {

// Where the 16-byte chunk at `offset` of a 1024-byte aligned buffer lies after `swizzle`.
__host__ constexpr GPU_DEVICE uint32_t swizzled(Swizzle swizzle, uint32_t offset) {
  const uint32_t mask = (1u << static_cast<uint32_t>(swizzle)) - 1;
  return offset ^ (((offset >> 7) & mask) << 4);
}

// The descriptor of a wgmma operand in shared memory. With `width` = 16, 32, 64 or 128 bytes by the swizzle:
//   Major::k   rows of `width` bytes along K, 8 rows side by side; stride_bytes from 8 rows to the next 8,
//              leading_bytes from one 16-byte column to the next (without swizzle only)
//   Major::mn  rows of `width` bytes along M or N, 8 rows (of K) side by side. With swizzle: stride_bytes from 8 rows
//   to
//              the next 8, leading_bytes from `width` bytes to the next. Without: the other way round.
GPU_DEVICE uint64_t smem_desc(const void* shared, uint32_t leading_bytes, uint32_t stride_bytes, Swizzle swizzle) {
  const auto field = [](uint32_t bytes) { return static_cast<uint64_t>((bytes & 0x3ffffu) >> 4); };
  const uint64_t code = (4u - static_cast<uint32_t>(swizzle)) & 3u;  // 1: 128 bytes, 2: 64, 3: 32, 0: none
  return field(smem_u32(shared)) | field(leading_bytes) << 16 | field(stride_bytes) << 32 | code << 62;
}

}  // namespace engine::kernels::gpu
