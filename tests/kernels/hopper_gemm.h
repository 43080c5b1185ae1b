#pragma once
// A kernel in the style that sm_90 wants, small enough to read, to try TMA, mbarriers and wgmma together:
//   d[M][N] = a[M][K] * b[N][K]^T (or b[K][N]), column_sums[M / 128][N] = sums of d's columns by 128 rows, all in f32
// One warpgroup loads, of which one thread works, through a ring of stages that mbarriers hand over; two warpgroups
// multiply 64 rows each. `kBug` puts one mistake into it, which the emulator has to find.
#include <cstdint>
#include <type_traits>

#include "kernels/gpu.h"

namespace engine::testing::hopper {

namespace gpu = kernels::gpu;

enum class Bug {
  none,
  no_full_wait,         // multiplies what may not be loaded
  no_free_wait,         // loads over what may not be multiplied
  freed_too_early,      // the same: hands a stage back before its products are finished
  wrong_parity,         // waits for the wrong phase
  wrong_bytes,          // expects more than comes
  no_init_fence,        // TMA may not see the mbarriers
  no_init_barrier,      // nor the other threads
  no_wgmma_fence,       // products may not see the sums
  no_commit,            // the last products belong to no group
  no_final_wait,        // sums are read while products run
  wrong_stride,         // a descriptor that does not describe the tile
  no_proxy_fence,       // TMA may not see what threads wrote
  no_barrier_to_store,  // nor the threads that store what the others wrote
  no_store_wait         // the block may end before its store has read
};

constexpr int kTileM = 128, kTileN = 128, kTileK = 64, kStages = 4;
constexpr int kBytesA = kTileM * kTileK * 2, kBytesB = kTileN * kTileK * 2, kBytesStage = kBytesA + kBytesB;
constexpr int kBytesHalf = 64 * 64 * 2;     // a box of the output: 64 rows of 128 bytes
constexpr int kBytesOut = 64 * kTileN * 2;  // of one warpgroup
constexpr int kSharedBytes = kStages * kBytesStage + 2 * kBytesOut;
constexpr int kThreads = 384;

template <class T, gpu::Major kMajorB, Bug kBug = Bug::none>
__global__ void __launch_bounds__(kThreads, 1)
    gemm_kernel(const __grid_constant__ gpu::TensorMap map_a, const __grid_constant__ gpu::TensorMap map_b,
                const __grid_constant__ gpu::TensorMap map_d, float* column_sums, int num_columns, int k_tiles) {
#ifdef GPU_SM90
  constexpr int kSummed = 3;  // a named barrier; 1 and 2 belong to one consumer each
  GPU_SHARED(uint64_t, full, kStages);
  GPU_SHARED(uint64_t, free, kStages);
  GPU_SHARED(float, partial, 8 * kTileN);
  char* stages = gpu::dyn_smem();
  char* staging = stages + kStages * kBytesStage;
  const auto thread = static_cast<int>(threadIdx.x);
  const int warpgroup = thread / 128;
  const int first_row = static_cast<int>(blockIdx.x) * kTileM, first_column = static_cast<int>(blockIdx.y) * kTileN;

  if (thread == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      gpu::mbar_init(full + stage, 1);
      gpu::mbar_init(free + stage, 2);
    }
    if constexpr (kBug != Bug::no_init_fence) gpu::fence_mbar_init();
  }
  if constexpr (kBug != Bug::no_init_barrier) __syncthreads();  // the mbarriers are initialised before any is used

  if (warpgroup == 0) {
    gpu::setmaxnreg_dec<40>();
    if (thread == 0) {
      for (int tile = 0; tile < k_tiles; ++tile) {
        const int stage = tile % kStages;
        const auto parity = static_cast<uint32_t>(tile / kStages % 2);
        char* a = stages + stage * kBytesStage;
        char* b = a + kBytesA;
        if constexpr (kBug != Bug::no_free_wait)
          gpu::mbar_wait(free + stage, kBug == Bug::wrong_parity ? parity : parity ^ 1u);
        gpu::mbar_arrive_expect_tx(full + stage, kBytesStage + (kBug == Bug::wrong_bytes ? 128 : 0));
        gpu::tma_load(&map_a, full + stage, a, {tile * kTileK, first_row});
        if constexpr (kMajorB == gpu::Major::k) {
          gpu::tma_load(&map_b, full + stage, b, {tile * kTileK, first_column});
        } else {
          gpu::tma_load(&map_b, full + stage, b, {first_column, tile * kTileK});
          gpu::tma_load(&map_b, full + stage, b + kBytesB / 2, {first_column + 64, tile * kTileK});
        }
      }
    }
  } else {
    gpu::setmaxnreg_inc<232>();
    const int consumer = warpgroup - 1, t = thread % 128, warp = t / 32, lane = t % 32;
    float d[kTileN / 2];
#pragma unroll
    for (float& sum : d) sum = 0;
    for (int tile = 0; tile < k_tiles; ++tile) {
      const int stage = tile % kStages;
      const char* a = stages + stage * kBytesStage + consumer * 64 * 128;
      const char* b = stages + stage * kBytesStage + kBytesA;
      if constexpr (kBug != Bug::no_full_wait) gpu::mbar_wait(full + stage, static_cast<uint32_t>(tile / kStages % 2));
      if constexpr (kBug != Bug::no_wgmma_fence) gpu::wgmma_fence();
#pragma unroll
      for (int step = 0; step < kTileK / 16; ++step) {
        constexpr uint32_t kEightRows = kBug == Bug::wrong_stride ? 512 : 1024;
        const uint64_t of_a = gpu::smem_desc(a + step * 32, 16, kEightRows, gpu::Swizzle::bytes128);
        const uint64_t of_b = kMajorB == gpu::Major::k
                                  ? gpu::smem_desc(b + step * 32, 16, kEightRows, gpu::Swizzle::bytes128)
                                  : gpu::smem_desc(b + step * 2048, kBytesB / 2, kEightRows, gpu::Swizzle::bytes128);
        gpu::wgmma<T, gpu::Major::k, kMajorB>(d, of_a, of_b, true);
      }
      if constexpr (kBug != Bug::no_commit) gpu::wgmma_commit();
      if constexpr (kBug == Bug::freed_too_early) {
        if (t == 0) gpu::mbar_arrive(free + stage);
        gpu::wgmma_wait<1>();
      } else {
        gpu::wgmma_wait<1>();  // the products of the last tile are finished, its stage is free
        if (t == 0 && tile > 0) gpu::mbar_arrive(free + (tile - 1) % kStages);
      }
    }
    if constexpr (kBug != Bug::no_final_wait) gpu::wgmma_wait<0>();

    // Each lane's pairs of neighbours into two swizzled boxes of 64 columns.
    char* out = staging + consumer * kBytesOut;
    const int row = warp * 16 + lane / 4, pair = lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kTileN / 8; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const auto place = static_cast<uint32_t>((row + 8 * half) * 128 + j % 8 * 16);
        *reinterpret_cast<uint32_t*>(out + j / 8 * kBytesHalf + gpu::swizzled(gpu::Swizzle::bytes128, place) +
                                     pair * 2) = gpu::pack2<T>(d[j * 4 + half * 2], d[j * 4 + half * 2 + 1]);
      }
    if constexpr (kBug != Bug::no_proxy_fence) gpu::fence_proxy_async();  // TMA sees what this thread wrote
    if constexpr (kBug != Bug::no_barrier_to_store) {
      // All threads of the warpgroup have written and fenced.
      if (consumer == 0) {
        gpu::bar_sync<1>(128);
      } else {
        gpu::bar_sync<2>(128);
      }
    }
    if (t == 0) {
      gpu::tma_store(&map_d, out, {first_column, first_row + consumer * 64});
      gpu::tma_store(&map_d, out + kBytesHalf, {first_column + 64, first_row + consumer * 64});
      gpu::tma_store_commit();
    }

    // Rows beyond M are zeros: TMA filled them.
#pragma unroll
    for (int j = 0; j < kTileN / 8; ++j) {
      float left = d[j * 4] + d[j * 4 + 2], right = d[j * 4 + 1] + d[j * 4 + 3];
#pragma unroll
      for (int distance = 4; distance < 32; distance *= 2) {
        left += __shfl_xor_sync(0xffffffffu, left, distance);
        right += __shfl_xor_sync(0xffffffffu, right, distance);
      }
      if (lane < 4) {
        float* sums = partial + (consumer * 4 + warp) * kTileN + j * 8 + pair;
        sums[0] = left;
        sums[1] = right;
      }
    }
    gpu::bar_sync<kSummed>(256);  // the sums of all warps are written
    if (consumer == 0) {
      float sum = 0;
#pragma unroll
      for (int i = 0; i < 8; ++i) sum += partial[i * kTileN + t];
      column_sums[static_cast<int>(blockIdx.x) * num_columns + first_column + t] = sum;
    }
    if constexpr (kBug != Bug::no_store_wait) {
      if (t == 0) gpu::tma_store_wait_read<0>();
    }
  }
#endif
}

// False if a tensor map or the launch fails. N is a multiple of 128, K of 8.
template <class T, gpu::Major kMajorB, Bug kBug = Bug::none>
bool gemm(T* d, float* column_sums, const T* a, const T* b, int m, int n, int k) {
  constexpr bool kIsBf16 = std::is_same_v<T, kernels::bf16>;
  constexpr kernels::DataType kType = kIsBf16 ? kernels::DataType::bf16 : kernels::DataType::f16;
  const auto map_of = [](gpu::TensorMap* map, const T* base, int rows, int columns, int box_rows) {
    return gpu::make_tensor_map(map, gpu::TiledTensor{.type = kType,
                                                      .base = base,
                                                      .rank = 2,
                                                      .dims = {columns, rows},
                                                      .stride_bytes = {0, columns * 2},
                                                      .box = {64, box_rows},
                                                      .swizzle = gpu::Swizzle::bytes128});
  };
  gpu::TensorMap map_a, map_b, map_d;
  const bool k_major = kMajorB == gpu::Major::k;
  return map_of(&map_a, a, m, k, kTileM) &&
         map_of(&map_b, b, k_major ? n : k, k_major ? k : n, k_major ? kTileN : 64) && map_of(&map_d, d, m, n, 64) &&
         gpu::launch(gemm_kernel<T, kMajorB, kBug>,
                     {.grid = {static_cast<unsigned>((m + kTileM - 1) / kTileM), static_cast<unsigned>(n / kTileN)},
                      .block = kThreads,
                      .shared_bytes = kSharedBytes},
                     map_a, map_b, map_d, column_sums, n, (k + kTileK - 1) / kTileK);
}

}  // namespace engine::testing::hopper
