// What a report says: the kind, the memory, both lines of the kernel's source, the block and the thread. Race build
// only.
#include "tests/emulator/verdict.h"

namespace engine::testing {
namespace {

constexpr Policy kInOrder{emulator::Schedule::forward, emulator::Async::lazy};
const std::string kFile = "tests/emulator/report_test.cpp:";

constexpr int kSharedWrite = __LINE__ + 3;
__global__ void shared_race(float* out) {
  GPU_SHARED(float, s, 32);
  s[threadIdx.x] = 1;
  out[threadIdx.x] = s[31 - threadIdx.x];
}

TEST(Report, NamesBothLinesOfASharedRace) {
  const Device<float> out(32);
  const WithPolicy with(kInOrder);
  gpu::launch(shared_race, {.grid = 1, .block = 32}, out.data());
  // Thread 0 reads element 31 before it is written; from thread 16 on, what was written.
  ASSERT_GE(emulator::findings().size(), 2u);
  EXPECT_THAT(findings_text(),
              ::testing::HasSubstr("uninitialised: read of shared memory that nobody has written: shared memory + "));
  EXPECT_THAT(
      findings_text(),
      ::testing::ContainsRegex("race: read after a write that nothing orders before it: shared memory \\+ [0-9]+ at " +
                               kFile + std::to_string(kSharedWrite + 1) + "; the other access, by thread 15, at " +
                               kFile + std::to_string(kSharedWrite) + " \\[block \\(0,0,0\\), thread 16\\]"));
}

constexpr int kGlobalWrite = __LINE__ + 2;
__global__ void global_race(float* out) {
  out[threadIdx.x / 2] = static_cast<float>(threadIdx.x);
}

TEST(Report, NamesBothLinesOfAGlobalRace) {
  const Device<float> out(16);
  const WithPolicy with(kInOrder);
  gpu::launch(global_race, {.grid = 1, .block = 32}, out.data());
  const std::string line = kFile + std::to_string(kGlobalWrite);
  EXPECT_THAT(findings_text(),
              ::testing::HasSubstr("race: write of global memory that nothing orders with a write at " + line +
                                   "; the other access, by thread 0 of block number 0, at " + line +
                                   " [block (0,0,0), thread 1]"));
}

// Inlined functions: the innermost line outside of the emulator.
__device__ inline void store_16_bytes(float* out) {
  gpu::stg16(out, make_uint4(1, 2, 3, 4));
}
constexpr int kInlinedStore = __LINE__ - 2;

__global__ void inlined_out_of_bounds(float* out) {
  store_16_bytes(out);
}

TEST(Report, NamesTheLineThatCallsAWrapper) {
  const Device<float> out(2);
  const WithPolicy with(kInOrder);
  gpu::launch(inlined_out_of_bounds, {.grid = 1, .block = 1}, out.data());
  EXPECT_THAT(findings_text(),
              ::testing::HasSubstr("bounds: write of 16 bytes across the end of an allocation of 8 bytes "
                                   "at " +
                                   kFile + std::to_string(kInlinedStore)));
}

constexpr int kCopy = __LINE__ + 3;
__global__ void copy_race(const float* in, float* out) {
  GPU_SHARED(float, s, 4);
  gpu::cp_async16(s, in);
  out[0] = s[0];
  gpu::cp_async_commit();
  gpu::cp_async_wait<0>();
}

TEST(Report, NamesTheCopyThatWasNotWaitedFor) {
  const Device<float> in(4, 1.0f), out(1);
  const WithPolicy with(kInOrder);
  gpu::launch(copy_race, {.grid = 1, .block = 1}, in.data(), out.data());
  EXPECT_THAT(findings_text(),
              ::testing::HasSubstr(" at " + kFile + std::to_string(kCopy + 1) + "; the other access, by the copy, at " +
                                   kFile + std::to_string(kCopy) + " [block (0,0,0), thread 0]"));
}

TEST(Report, IsPrinted) {
  const Device<float> in(4, 1.0f), out(1);
  const WithPolicy with(kInOrder);
  emulator::settings().quiet = false;
  ::testing::internal::CaptureStderr();
  gpu::launch(copy_race, {.grid = 1, .block = 1}, in.data(), out.data());
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::StartsWith("emulator: race: read of shared memory"));
}

TEST(ReportDeathTest, HaltsOnRequest) {
  const Device<float> in(4, 1.0f), out(1);
  const WithPolicy with(kInOrder);
  emulator::settings().halt = true;
  emulator::settings().quiet = false;
  EXPECT_DEATH(gpu::launch(copy_race, {.grid = 1, .block = 1}, in.data(), out.data()), "emulator: race");
}

}  // namespace
}  // namespace engine::testing
