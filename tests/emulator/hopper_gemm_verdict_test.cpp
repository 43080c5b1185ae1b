// Each mistake of tests/kernels/hopper_gemm.h is found under every policy; without one there is no finding. Race build
// only.
#include "tests/emulator/verdict.h"
#include "tests/kernels/hopper_gemm.h"

namespace engine::testing {
namespace {

using hopper::Bug;
using kernels::bf16;
using ::testing::AnyOf;
using ::testing::HasSubstr;

// More tiles of K than stages, so that each stage is used twice.
constexpr int kM = 128, kN = 128, kK = 384;

std::vector<bf16> small_integers(int step) {
  std::vector<bf16> values(kM * kK);
  for (int i = 0; i < kM * kK; ++i)
    values[static_cast<size_t>(i)] = kernels::from_float<bf16>(static_cast<float>(i * step % 5 - 2));
  return values;
}

template <Bug kBug>
std::vector<float> column_sums() {
  const Device<bf16> a(small_integers(7)), b(small_integers(11)), d(kM * kN);
  const Device<float> sums(kN);
  hopper::gemm<bf16, gpu::Major::k, kBug>(d.data(), sums.data(), a.data(), b.data(), kM, kN, kK);
  emulator::runtime().last_error();  // of a deadlock
  return sums.values();
}

// Under each policy the findings match.
template <Bug kBug, class Matcher>
void expect_found(const Matcher& matcher) {
  for (const Policy& policy : all_policies()) {
    const WithPolicy with(policy);
    column_sums<kBug>();
    EXPECT_THAT(findings_text(), matcher) << policy.name();
  }
}

TEST(HopperGemm, WithoutMistake) {
  expect_clean(column_sums<Bug::none>);
}

TEST(HopperGemm, NoFullWait) {
  expect_found<Bug::no_full_wait>(AnyOf(HasSubstr("wgmma reads shared memory that an asynchronous copy fills"),
                                        HasSubstr("asynchronous read after a write that nothing orders before it"),
                                        HasSubstr("wgmma reads shared memory that nobody has written")));
}

TEST(HopperGemm, NoFreeWait) {
  expect_found<Bug::no_free_wait>(
      AnyOf(HasSubstr("two asynchronous copies into the same shared memory"), HasSubstr("asynchronous copy over")));
}

TEST(HopperGemm, FreedTooEarly) {
  expect_found<Bug::freed_too_early>(HasSubstr("asynchronous copy over what wgmma or a bulk store may still read"));
}

TEST(HopperGemm, WrongParity) {
  expect_found<Bug::wrong_parity>(HasSubstr("in phase 0 lacks 1 of 1 arrivals and 0 bytes"));
}

TEST(HopperGemm, WrongBytes) {
  expect_found<Bug::wrong_bytes>(HasSubstr("in phase 0 lacks 0 of 1 arrivals and 128 bytes"));
}

TEST(HopperGemm, NoInitFence) {
  expect_found<Bug::no_init_fence>(HasSubstr("although no fence_mbar_init() followed its initialisation"));
}

TEST(HopperGemm, NoInitBarrier) {
  expect_found<Bug::no_init_barrier>(
      AnyOf(HasSubstr("by a thread that nothing orders after its initialisation"), HasSubstr("was not initialised")));
}

TEST(HopperGemm, NoWgmmaFence) {
  expect_found<Bug::no_wgmma_fence>(HasSubstr("wgmma without a wgmma_fence()"));
}

TEST(HopperGemm, NoCommit) {
  expect_found<Bug::no_commit>(HasSubstr("a thread exits with wgmma products in flight"));
}

TEST(HopperGemm, NoFinalWait) {
  expect_found<Bug::no_final_wait>(HasSubstr("of registers that wgmma still uses, before its group was waited for"));
}

// Legal, but another matrix: only the result tells.
TEST(HopperGemm, WrongStride) {
  EXPECT_NE(column_sums<Bug::wrong_stride>(), column_sums<Bug::none>());
}

TEST(HopperGemm, NoProxyFence) {
  expect_found<Bug::no_proxy_fence>(HasSubstr("no fence.proxy.async between a thread's write and a TMA store"));
}

TEST(HopperGemm, NoBarrierToStore) {
  expect_found<Bug::no_barrier_to_store>(
      AnyOf(HasSubstr("asynchronous read after a write that nothing orders before it"),
            HasSubstr("a TMA store reads shared memory that nobody has written")));
}

TEST(HopperGemm, NoStoreWait) {
  expect_found<Bug::no_store_wait>(HasSubstr("a block ends while a TMA store may still read its shared memory"));
}

}  // namespace
}  // namespace engine::testing
