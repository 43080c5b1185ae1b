#pragma once
// nvcc's bodies of the wrappers that kernels/gpu.h lists: every inline PTX instruction of the project is in
// kernels/gpu/. A wrapper changes together with its twin in kernels/emulator/ and its test in
// tests/kernels/wrapper_test.cu.
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

// Kernels of sm_90a; plain sm_90 has neither wgmma nor setmaxnreg.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define GPU_SM90 1
#endif

#define GPU_SHARED(T, name, N) __shared__ __align__(16) T name[N]
#define GPU_PTX __device__ __forceinline__

namespace engine::kernels::gpu {

// ---- Memory

GPU_PTX char* dyn_smem() {
  extern __shared__ __align__(1024) char engine_dynamic_shared_memory[];
  return engine_dynamic_shared_memory;
}

GPU_PTX uint32_t smem_u32(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

GPU_PTX uint4 ldg16(const void* global) {
  uint4 v;
  asm("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(global));
  return v;
}

GPU_PTX void stg16(void* global, uint4 value) {
  *static_cast<uint4*>(global) = value;
}

// ---- Conversions

GPU_PTX float to_float(float value) {
  return value;
}
GPU_PTX float to_float(bf16 value) {
  return __uint_as_float(static_cast<uint32_t>(value.bits) << 16);
}
GPU_PTX float to_float(f16 value) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(value.bits));
  return x;
}

template <class T>
GPU_PTX T from_float(float x);
template <>
GPU_PTX float from_float<float>(float x) {
  return x;
}
template <>
GPU_PTX bf16 from_float<bf16>(float x) {
  bf16 value;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(value.bits) : "f"(x));
  return value;
}
template <>
GPU_PTX f16 from_float<f16>(float x) {
  f16 value;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(value.bits) : "f"(x));
  return value;
}

template <class T>
GPU_PTX uint32_t pack2(float low, float high);
template <>
GPU_PTX uint32_t pack2<bf16>(float low, float high) {
  uint32_t u;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
  return u;
}
template <>
GPU_PTX uint32_t pack2<f16>(float low, float high) {
  uint32_t u;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
  return u;
}

template <class T>
GPU_PTX float2 unpack2(uint32_t u) {
  return {gpu::to_float(T{static_cast<uint16_t>(u)}), gpu::to_float(T{static_cast<uint16_t>(u >> 16)})};
}

// ---- Asynchronous copies of sm_80: 16 bytes bypass L1

GPU_PTX void cp_async16(void* shared, const void* global, bool ok = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(smem_u32(shared)), "l"(global), "r"(ok ? 16 : 0)
               : "memory");
}
GPU_PTX void cp_async8(void* shared, const void* global, bool ok = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(smem_u32(shared)), "l"(global), "r"(ok ? 8 : 0)
               : "memory");
}
GPU_PTX void cp_async4(void* shared, const void* global, bool ok = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(smem_u32(shared)), "l"(global), "r"(ok ? 4 : 0)
               : "memory");
}
GPU_PTX void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int N>
GPU_PTX void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// ---- Matrix fragments

GPU_PTX void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(smem_u32(row))
               : "memory");
}
GPU_PTX void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(smem_u32(row))
               : "memory");
}

GPU_PTX void stmatrix_x4(void* row, const uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(smem_u32(row)), "r"(r[0]),
               "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}
GPU_PTX void stmatrix_x4_trans(void* row, const uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(smem_u32(row)), "r"(r[0]),
               "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

template <class T>
GPU_PTX void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
template <>
GPU_PTX void mma_m16n8k16<bf16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
GPU_PTX void mma_m16n8k16<f16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <class T, int MT, int NT>
GPU_PTX void mma_tile(float (&d)[MT][NT][4], const uint32_t (&a)[MT][4], const uint32_t (&b)[NT][2]) {
#pragma unroll
  for (int i = 0; i < MT; ++i)
#pragma unroll
    for (int j = 0; j < NT; ++j) mma_m16n8k16<T>(d[i][j], a[i], b[j]);
}

GPU_PTX uint32_t round_tf32(float x) {
  uint32_t u;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(u) : "f"(x));
  return u;
}

GPU_PTX void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <int MT, int NT>
GPU_PTX void mma_tile_tf32(float (&d)[MT][NT][4], const uint32_t (&a)[MT][4], const uint32_t (&b)[NT][2]) {
#pragma unroll
  for (int i = 0; i < MT; ++i)
#pragma unroll
    for (int j = 0; j < NT; ++j) mma_m16n8k8_tf32(d[i][j], a[i], b[j]);
}

// ---- Named barriers. The number is an immediate: with one in a register ptxas reserves all 16.

template <int ID>
GPU_PTX void bar_sync(int num_threads) {
  static_assert(ID > 0 && ID < 16, "0 is the barrier of __syncthreads");
  asm volatile("bar.sync %0, %1;" ::"n"(ID), "r"(num_threads) : "memory");
}
template <int ID>
GPU_PTX void bar_arrive(int num_threads) {
  static_assert(ID > 0 && ID < 16, "0 is the barrier of __syncthreads");
  asm volatile("bar.arrive %0, %1;" ::"n"(ID), "r"(num_threads) : "memory");
}

}  // namespace engine::kernels::gpu

#include "kernels/gpu/launch.h"
#include "kernels/gpu/tma_ptx.h"
#include "kernels/gpu/wgmma_ptx.h"
