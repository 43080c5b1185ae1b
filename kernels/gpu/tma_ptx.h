#pragma once
// Part of kernels/gpu/ptx.h: mbarriers and the tensor memory accelerator of sm_90.
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/gpu/tensor_map.h"

namespace engine::kernels::gpu {

// A kernel takes it as `const __grid_constant__ gpu::TensorMap map` and gives its address to the wrappers.
using TensorMap = CUtensorMap;

// ---- mbarriers: a phase ends when `count` threads have arrived and all expected bytes have come

GPU_PTX void mbar_init(uint64_t* barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(smem_u32(barrier)), "r"(count) : "memory");
}

// Shows initialised mbarriers to TMA.
GPU_PTX void fence_mbar_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

GPU_PTX void mbar_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(smem_u32(barrier)) : "memory");
}
GPU_PTX void mbar_arrive_expect_tx(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(smem_u32(barrier)), "r"(bytes)
               : "memory");
}

// Waits until the phase of this parity (0, 1, 0, ... from the first) has ended.
GPU_PTX void mbar_wait(uint64_t* barrier, uint32_t parity) {
  uint32_t done;
  do {
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n"
        "}"
        : "=r"(done)
        : "r"(smem_u32(barrier)), "r"(parity)
        : "memory");
  } while (done == 0);
}

// ---- TMA: one thread issues, loads report to an mbarrier, stores to the issuing thread's bulk groups

// Shows the calling thread's plain writes of shared memory to TMA and wgmma.
GPU_PTX void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

template <int RANK>
GPU_PTX void tma_load(const TensorMap* map, uint64_t* barrier, void* shared, const int (&c)[RANK]) {
  static_assert(RANK >= 1 && RANK <= 5, "a tensor map has 1 to 5 dimensions");
  const uint32_t to = smem_u32(shared), bar = smem_u32(barrier);
  if constexpr (RANK == 1)
    asm volatile(
        "cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3}], [%2];" ::"r"(to),
        "l"(map), "r"(bar), "r"(c[0])
        : "memory");
  else if constexpr (RANK == 2)
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
            to),
        "l"(map), "r"(bar), "r"(c[0]), "r"(c[1])
        : "memory");
  else if constexpr (RANK == 3)
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::
            "r"(to),
        "l"(map), "r"(bar), "r"(c[0]), "r"(c[1]), "r"(c[2])
        : "memory");
  else if constexpr (RANK == 4)
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
        "l"(map), "r"(bar), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3])
        : "memory");
  else
    asm volatile(
        "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(to),
        "l"(map), "r"(bar), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]), "r"(c[4])
        : "memory");
}

// One column of an Im2colTensor: from channel c and the position (w, h, n), each pixel moved by `offset`.
GPU_PTX void tma_load_im2col(const TensorMap* map, uint64_t* barrier, void* shared, const int (&cwhn)[4],
                             const int (&offset_wh)[2]) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(smem_u32(shared)),
      "l"(map), "r"(smem_u32(barrier)), "r"(cwhn[0]), "r"(cwhn[1]), "r"(cwhn[2]), "r"(cwhn[3]),
      "h"(static_cast<uint16_t>(offset_wh[0])), "h"(static_cast<uint16_t>(offset_wh[1]))
      : "memory");
}

template <int RANK>
GPU_PTX void tma_store(const TensorMap* map, const void* shared, const int (&c)[RANK]) {
  static_assert(RANK >= 1 && RANK <= 5, "a tensor map has 1 to 5 dimensions");
  const uint32_t from = smem_u32(shared);
  if constexpr (RANK == 1)
    asm volatile("cp.async.bulk.tensor.1d.global.shared::cta.bulk_group [%0, {%2}], [%1];" ::"l"(map), "r"(from),
                 "r"(c[0])
                 : "memory");
  else if constexpr (RANK == 2)
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map), "r"(from),
                 "r"(c[0]), "r"(c[1])
                 : "memory");
  else if constexpr (RANK == 3)
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
                 "r"(from), "r"(c[0]), "r"(c[1]), "r"(c[2])
                 : "memory");
  else if constexpr (RANK == 4)
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map),
                 "r"(from), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3])
                 : "memory");
  else
    asm volatile("cp.async.bulk.tensor.5d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(map),
                 "r"(from), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]), "r"(c[4])
                 : "memory");
}
GPU_PTX void tma_store_commit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
// Until all but the last N groups have been read from shared memory; no block may end before.
template <int N>
GPU_PTX void tma_store_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}

// ---- Host side. The driver's encoder is asked for at run time: linking libcuda would need a driver to start at all.

template <class Function>
Function driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result{};
  if (cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &result) != cudaSuccess)
    return nullptr;
  return reinterpret_cast<Function>(function);
}

inline CUtensorMapDataType tensor_map_type(DataType type) {
  if (type == DataType::f32) return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  return type == DataType::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
}

// False if the driver has no TMA or refuses the tensor.
inline bool make_tensor_map(TensorMap* map, const TiledTensor& tensor) {
  static const auto encode = driver_function<decltype(&cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
  const int64_t size = size_of(tensor.type);
  if (encode == nullptr || tensor.rank < 1 || tensor.rank > 5 || !fills(tensor.swizzle, tensor.box[0] * size))
    return false;
  cuuint64_t dims[5] = {}, strides[5] = {};
  cuuint32_t box[5] = {};
  const cuuint32_t steps[5] = {1, 1, 1, 1, 1};
  for (int i = 0; i < tensor.rank; ++i) {
    dims[i] = static_cast<cuuint64_t>(tensor.dims[i]);
    box[i] = static_cast<cuuint32_t>(tensor.box[i]);
    if (i > 0) strides[i - 1] = static_cast<cuuint64_t>(tensor.stride_bytes[i]);
  }
  return encode(map, tensor_map_type(tensor.type), static_cast<cuuint32_t>(tensor.rank), const_cast<void*>(tensor.base),
                dims, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                static_cast<CUtensorMapSwizzle>(tensor.swizzle), CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

inline bool make_tensor_map(TensorMap* map, const Im2colTensor& tensor) {
  static const auto encode = driver_function<decltype(&cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col");
  if (encode == nullptr || !fills(tensor.swizzle, tensor.channels * size_of(tensor.type))) return false;
  const auto size = static_cast<cuuint64_t>(size_of(tensor.type));
  const auto n = static_cast<cuuint64_t>(tensor.n), h = static_cast<cuuint64_t>(tensor.h),
             w = static_cast<cuuint64_t>(tensor.w), c = static_cast<cuuint64_t>(tensor.c);
  const auto stride = static_cast<cuuint32_t>(tensor.stride);
  const cuuint64_t dims[] = {c, w, h, n}, strides[] = {c * size, w * c * size, h * w * c * size};
  const int lower[] = {tensor.lower_w, tensor.lower_h}, upper[] = {tensor.upper_w, tensor.upper_h};
  const cuuint32_t steps[] = {1, stride, stride, 1};
  return encode(map, tensor_map_type(tensor.type), 4, const_cast<void*>(tensor.base), dims, strides, lower, upper,
                static_cast<cuuint32_t>(tensor.channels), static_cast<cuuint32_t>(tensor.pixels), steps,
                CU_TENSOR_MAP_INTERLEAVE_NONE, static_cast<CUtensorMapSwizzle>(tensor.swizzle),
                CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

static_assert(static_cast<int>(Swizzle::none) == CU_TENSOR_MAP_SWIZZLE_NONE);
static_assert(static_cast<int>(Swizzle::bytes32) == CU_TENSOR_MAP_SWIZZLE_32B);
static_assert(static_cast<int>(Swizzle::bytes64) == CU_TENSOR_MAP_SWIZZLE_64B);
static_assert(static_cast<int>(Swizzle::bytes128) == CU_TENSOR_MAP_SWIZZLE_128B);

}  // namespace engine::kernels::gpu
