#pragma once
// What a running CUDA thread knows of itself: threadIdx and its relatives.
#include <cstddef>
#include <cstdint>

#include "kernels/emulator/language.h"

namespace engine::kernels::emulator {

// Where in the kernel's source an operation stands; wrappers take it as their last argument, by default the caller's.
struct Site {
  const char* file = nullptr;
  int line = 0;
  static constexpr Site current(const char* file_ = __builtin_FILE(), int line_ = __builtin_LINE()) {
    return {file_, line_};
  }
};

struct BlockView {
  uint3 index{};    // blockIdx
  dim3 size, grid;  // blockDim, gridDim
  char* dynamic_shared = nullptr;
};

struct ThreadView {
  uint3 position{};  // threadIdx
  int index = 0;     // in the block, x fastest
  int lane = 0, warp = 0;
  BlockView* block_view = nullptr;
};

// The CUDA thread that runs on this OS thread, null outside of kernels. In a debugger: `current->index`.
extern constinit thread_local ThreadView* current __attribute__((tls_model("initial-exec")));

}  // namespace engine::kernels::emulator

#define threadIdx (::engine::kernels::emulator::current->position)
#define blockIdx (::engine::kernels::emulator::current->block_view->index)
#define blockDim (::engine::kernels::emulator::current->block_view->size)
#define gridDim (::engine::kernels::emulator::current->block_view->grid)
#define warpSize 32
