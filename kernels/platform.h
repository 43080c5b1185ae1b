#pragma once
// Device code of one's own, for the emulator and for GPUs in one program (CMake: engine_add_kernels). A launcher is
// declared
//
//   template <engine::kernels::Platform>
//   bool scale(const float* x, float* y, int64_t count, float factor, engine::kernels::Stream stream);
//
// and its .cu file, which is compiled for each platform, defines `template <> bool scale<gpu::kPlatform>(...)` next to
// kernels in an unnamed namespace. scale<Platform::cuda> exists where ENGINE_KERNELS_BY_NVCC is defined.
#include <cstdint>

namespace engine::kernels {

enum class Platform : uint8_t { emulated, cuda };

namespace gpu {

// What this file is being compiled for. Of each file its own: internal linkage.
#ifdef __CUDACC__
constexpr Platform kPlatform = Platform::cuda;
#else
constexpr Platform kPlatform = Platform::emulated;
#endif

}  // namespace gpu
}  // namespace engine::kernels
