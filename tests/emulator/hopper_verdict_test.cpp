// mbarriers, TMA, wgmma and stmatrix: misuse that needs no race detector to be found. Every build.
#include "tests/emulator/verdict.h"

namespace engine::testing {
namespace {

using gpu::Major;
using gpu::Swizzle;
using kernels::bf16;

// ---- mbarriers

enum class BarrierBug { none, twice, misaligned, absent, too_many, bad_parity };

template <BarrierBug kBug>
__global__ void barrier_kernel() {
  GPU_SHARED(uint64_t, barrier, 2);
  auto* address =
      reinterpret_cast<uint64_t*>(reinterpret_cast<char*>(barrier) + (kBug == BarrierBug::misaligned ? 4 : 0));
  if (threadIdx.x == 0) {
    if (kBug != BarrierBug::absent) gpu::mbar_init(address, 32);
    if (kBug == BarrierBug::twice) gpu::mbar_init(address, 32);
  }
  __syncthreads();  // the mbarrier is initialised before anybody uses it
  if (kBug == BarrierBug::too_many && threadIdx.x == 0) gpu::mbar_arrive_expect_tx(address, 16);
  gpu::mbar_arrive(address);
  if (kBug != BarrierBug::too_many) gpu::mbar_wait(address, kBug == BarrierBug::bad_parity ? 2 : 0);
}

template <BarrierBug kBug>
void run_barrier() {
  gpu::launch(barrier_kernel<kBug>, {.grid = 1, .block = 32});
  emulator::runtime().last_error();  // of a block that could not go on
}

TEST(Mbarrier, UsedAsMeant) {
  expect_clean(run_barrier<BarrierBug::none>);
}
TEST(Mbarrier, InitialisedTwice) {
  expect_finding(Check::misuse, "an mbarrier is initialised twice", run_barrier<BarrierBug::twice>);
}
TEST(Mbarrier, Misaligned) {
  expect_finding(Check::alignment, "an mbarrier is not aligned to 8 bytes", run_barrier<BarrierBug::misaligned>);
}
TEST(Mbarrier, NotInitialised) {
  expect_finding(Check::uninitialised, "was not initialised", run_barrier<BarrierBug::absent>);
}
TEST(Mbarrier, TooManyArrivals) {
  expect_finding(Check::misuse, "more than 32 arrivals in one phase of an mbarrier", run_barrier<BarrierBug::too_many>);
}
TEST(Mbarrier, ParityThatIsNone) {
  expect_finding(Check::misuse, "the parity of an mbarrier's phase is 0 or 1, not 2",
                 run_barrier<BarrierBug::bad_parity>);
}

// ---- TMA

enum class LoadBug { none, misaligned, rank, no_wait, overrun };

template <LoadBug kBug>
__global__ void load_kernel(const __grid_constant__ gpu::TensorMap map) {
  GPU_SHARED(uint64_t, full, 1);
  char* box = gpu::dyn_smem() + (kBug == LoadBug::misaligned ? 64 : kBug == LoadBug::overrun ? 128 : 0);
  if (threadIdx.x == 0) {
    gpu::mbar_init(full, 1);
    gpu::fence_mbar_init();
    gpu::mbar_arrive_expect_tx(full, 512);
    if (kBug == LoadBug::rank) {
      gpu::tma_load(&map, full, box, {0});
    } else {
      gpu::tma_load(&map, full, box, {0, 0});
    }
  }
  __syncthreads();  // the mbarrier is initialised before anybody waits for it
  if (kBug != LoadBug::no_wait) gpu::mbar_wait(full, 0);
}

template <LoadBug kBug>
void run_load() {
  const Device<float> x(256, 1.0f);
  gpu::TensorMap map;
  ASSERT_TRUE(gpu::make_tensor_map(&map, gpu::TiledTensor{.type = kernels::DataType::f32,
                                                          .base = x.data(),
                                                          .rank = 2,
                                                          .dims = {16, 16},
                                                          .stride_bytes = {0, 64},
                                                          .box = {16, 8}}));
  const size_t bytes = kBug == LoadBug::overrun ? 256 : 1024;
  gpu::launch(load_kernel<kBug>, {.grid = 1, .block = 32, .shared_bytes = bytes}, map);
  emulator::runtime().last_error();  // of a block that could not go on
}

TEST(Tma, UsedAsMeant) {
  expect_clean(run_load<LoadBug::none>);
}
TEST(Tma, MisalignedInSharedMemory) {
  expect_finding(Check::alignment, "TMA's side in shared memory is not aligned to 128 bytes",
                 run_load<LoadBug::misaligned>);
}
TEST(Tma, CoordinatesOfAnotherRank) {
  expect_finding(Check::misuse, "a copy with 1 coordinates of a tensor map with 2 dimensions", run_load<LoadBug::rank>);
}
TEST(Tma, BoxThatDoesNotFit) {
  expect_finding(Check::bounds, "a box of 512 bytes does not fit into shared memory", run_load<LoadBug::overrun>);
}
TEST(Tma, BlockEndsBeforeTheLoad) {
  const WithPolicy with({emulator::Schedule::forward, emulator::Async::lazy});  // eager: it is there already
  run_load<LoadBug::no_wait>();
  EXPECT_THAT(findings_text(), ::testing::HasSubstr("a block ends with 1 TMA loads in flight"));
}

__global__ void column_kernel(const __grid_constant__ gpu::TensorMap map, int w) {
  GPU_SHARED(uint64_t, full, 1);
  if (threadIdx.x == 0) {
    gpu::mbar_init(full, 1);
    gpu::fence_mbar_init();
    gpu::mbar_arrive_expect_tx(full, 128);
    gpu::tma_load_im2col(&map, full, gpu::dyn_smem(), {0, w, -1, 0}, {0, 0});
  }
  __syncthreads();  // the mbarrier is initialised before anybody waits for it
  gpu::mbar_wait(full, 0);
}

TEST(Tma, Im2colFromAPositionBetweenTwoOutputs) {
  const Device<bf16> x(2 * 8 * 8 * 8, kernels::from_float<bf16>(1));
  gpu::TensorMap map;
  ASSERT_TRUE(gpu::make_tensor_map(&map, gpu::Im2colTensor{.base = x.data(),
                                                           .n = 2,
                                                           .h = 8,
                                                           .w = 8,
                                                           .c = 8,
                                                           .lower_w = -1,
                                                           .lower_h = -1,
                                                           .upper_w = -1,
                                                           .upper_h = -1,
                                                           .stride = 2,
                                                           .channels = 8,
                                                           .pixels = 8}));
  expect_clean([&] { gpu::launch(column_kernel, {.grid = 1, .block = 32, .shared_bytes = 128}, map, 1); });
  expect_finding(Check::misuse, "(w, h) = (2, -1) with offset (0, 0) is no position",
                 [&] { gpu::launch(column_kernel, {.grid = 1, .block = 32, .shared_bytes = 128}, map, 2); });
}

// ---- wgmma

enum class ProductBug { none, descriptors, swizzle, lines, registers, missing_thread };

template <ProductBug kBug>
__global__ void product_kernel(float* out) {
  char* operands = gpu::dyn_smem();
  for (unsigned i = threadIdx.x; i < 16384 / 4; i += blockDim.x) reinterpret_cast<uint32_t*>(operands)[i] = 0x3f803f80u;
  gpu::fence_proxy_async();  // wgmma sees what this thread wrote
  __syncthreads();           // all threads have written and fenced
  const auto t = static_cast<int>(threadIdx.x);
  const int shift = kBug == ProductBug::descriptors && t == 77 ? 1024 : kBug == ProductBug::swizzle ? 256 : 0;
  const uint64_t a = gpu::smem_desc(operands, 16, 1024, Swizzle::bytes128);
  const uint64_t b = gpu::smem_desc(operands + shift, 16, 1024, Swizzle::bytes128);
  uint32_t registers[4] = {1, 2, 3, 4};
  float d[32] = {};
  if (kBug != ProductBug::missing_thread || t != 5) {
    gpu::wgmma_fence();
    if (kBug == ProductBug::registers) {
      gpu::wgmma<bf16>(d, registers, b, true);
    } else if (kBug == ProductBug::lines && t < 64) {
      gpu::wgmma<bf16>(d, a, b, true);
    } else {
      gpu::wgmma<bf16>(d, a, b, true);
    }
    gpu::wgmma_commit();
    if (kBug == ProductBug::registers) registers[0] = 5;
    gpu::wgmma_wait<0>();
  }
  out[t] = d[0];
}

template <ProductBug kBug>
void run_product() {
  const Device<float> out(128);
  gpu::launch(product_kernel<kBug>, {.grid = 1, .block = 128, .shared_bytes = 16384}, out.data());
  if (kBug == ProductBug::none) {
    EXPECT_THAT(out.values(), ::testing::Each(16.0f));
  }
  emulator::runtime().last_error();  // of a block that could not go on
}

TEST(Wgmma, UsedAsMeant) {
  expect_clean(run_product<ProductBug::none>);
}
TEST(Wgmma, DescriptorsThatDiffer) {
  expect_finding(Check::divergence, "threads 0 and 77 of a warpgroup call wgmma with different descriptors",
                 run_product<ProductBug::descriptors>);
}
TEST(Wgmma, OperandInsideOfItsSwizzle) {
  expect_finding(Check::alignment, "begins inside of its swizzle's 1024 bytes", run_product<ProductBug::swizzle>);
}
TEST(Wgmma, ThreadsInDifferentLines) {
  expect_finding(Check::divergence, "threads of a warpgroup meet in different operations",
                 run_product<ProductBug::lines>);
}
TEST(Wgmma, RegistersOfAOverwritten) {
  expect_finding(Check::race, "has changed the registers of wgmma's A before it waited for the product",
                 run_product<ProductBug::registers>);
}
TEST(Wgmma, ThreadThatDoesNotCome) {
  expect_finding(Check::divergence, "a thread exits although others of its warpgroup wait for it in wgmma.mma_async",
                 run_product<ProductBug::missing_thread>);
}

TEST(Wgmma, BlockWithoutAWholeWarpgroup) {
  const Device<float> out(128);
  expect_finding(Check::misuse, "wgmma needs whole warpgroups of 128 threads, the block has 64", [&] {
    gpu::launch(product_kernel<ProductBug::none>, {.grid = 1, .block = 64, .shared_bytes = 16384}, out.data());
    emulator::runtime().last_error();
  });
}

// ---- stmatrix

__global__ void stmatrix_kernel(int shift) {
  GPU_SHARED(uint16_t, rows, 32 * 8 + 8);
  const uint32_t r[4] = {1, 2, 3, 4};
  gpu::stmatrix_x4(rows + threadIdx.x * 8 + shift, r);
}

TEST(Stmatrix, MisalignedRow) {
  expect_clean([] { gpu::launch(stmatrix_kernel, {.grid = 1, .block = 32}, 8); });
  expect_finding(Check::alignment, "a row of stmatrix is not aligned to 16 bytes",
                 [] { gpu::launch(stmatrix_kernel, {.grid = 1, .block = 32}, 4); });
}

}  // namespace
}  // namespace engine::testing
