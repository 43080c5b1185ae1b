// What AddressSanitizer and UndefinedBehaviorSanitizer say of kernels. Only built with them (ENGINE_SANITIZE).
#include "tests/emulator/verdict.h"

namespace engine::testing {
namespace {

__global__ void write_dynamic(float* out, int i) {
  auto* s = reinterpret_cast<float*>(gpu::dyn_smem());
  s[threadIdx.x] = 1;
  if (threadIdx.x == 0) s[i] = 3;
  __syncthreads();  // element i is written before it is read
  out[threadIdx.x] = s[threadIdx.x];
}

__global__ void write_static(float* out, int i) {
  GPU_SHARED(float, s, 32);
  s[i] = 3;
  out[0] = s[i];
}

__global__ void write_global(float* out, int i) {
  out[i] = 1;
}

__global__ void write_local(float* out, int i) {
  float values[8] = {};
  float* any = values;
  any[i] = static_cast<float>(threadIdx.x);
  __syncthreads();  // a switch of fibers in between
  out[threadIdx.x] = any[i];
}

__global__ void write_vector(float* out, int i) {
  *reinterpret_cast<float4*>(out + i) = make_float4(1, 2, 3, 4);
}

TEST(Sanitizers, LetRightKernelsPass) {
  const Device<float> out(64);
  expect_clean([&] {
    gpu::launch(write_dynamic, {.grid = 2, .block = 32, .shared_bytes = 128}, out.data(), 31);
    gpu::launch(write_static, {.grid = 1, .block = 1}, out.data(), 31);
    gpu::launch(write_global, {.grid = 1, .block = 1}, out.data(), 63);
    gpu::launch(write_local, {.grid = 1, .block = 64}, out.data(), 7);
    gpu::launch(write_vector, {.grid = 1, .block = 1}, out.data(), 60);
  });
}

TEST(SanitizersDeathTest, DynamicSharedMemory) {
  const Device<float> out(64);
  EXPECT_DEATH(gpu::launch(write_dynamic, {.grid = 1, .block = 32, .shared_bytes = 128}, out.data(), 32),
               "use-after-poison(.|\n)*write_dynamic(.|\n)*sanitizer_test.cpp");
}

TEST(SanitizersDeathTest, StaticSharedMemory) {
  const Device<float> out(64);
  EXPECT_DEATH(gpu::launch(write_static, {.grid = 1, .block = 1}, out.data(), 32), "index 32 out of bounds");
}

TEST(SanitizersDeathTest, GlobalMemory) {
  const Device<float> out(63);
  EXPECT_DEATH(gpu::launch(write_global, {.grid = 1, .block = 1}, out.data(), 63),
               "heap-buffer-overflow(.|\n)*write_global(.|\n)*sanitizer_test.cpp");
}

TEST(SanitizersDeathTest, FreedMemory) {
  float* freed = nullptr;
  {
    const Device<float> out(64);
    freed = out.data();
  }
  EXPECT_DEATH(gpu::launch(write_global, {.grid = 1, .block = 1}, freed, 3), "heap-use-after-free");
}

TEST(SanitizersDeathTest, LocalArray) {
  const Device<float> out(64);
  EXPECT_DEATH(gpu::launch(write_local, {.grid = 1, .block = 64}, out.data(), 8),
               "stack-buffer-overflow|insufficient space");
}

TEST(SanitizersDeathTest, MisalignedVector) {
  const Device<float> out(64);
  EXPECT_DEATH(gpu::launch(write_vector, {.grid = 1, .block = 1}, out.data(), 2), "misaligned address");
}

}  // namespace
}  // namespace engine::testing
