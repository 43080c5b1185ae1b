#pragma once
// Shared memory of a block. Offsets count from the start of the block's window, as shared addresses of the GPU do.
#include "kernels/emulator/thread_view.h"

namespace engine::kernels::emulator {

// The block's array that belongs to `key`, poisoned with 0xFF on first use.
void* static_shared(const void* key, size_t bytes, size_t alignment);
uint32_t shared_offset(const void* address, Site site);

}  // namespace engine::kernels::emulator

namespace engine::kernels::gpu {

// The launch's dynamic shared memory, aligned to 1024 bytes.
inline char* dyn_smem() {
  return emulator::current->block_view->dynamic_shared;
}

// The 32-bit shared address of a generic address.
inline uint32_t smem_u32(const void* address, emulator::Site site = emulator::Site::current()) {
  return emulator::shared_offset(address, site);
}

}  // namespace engine::kernels::gpu

// __shared__ T name[N]; the lambda is a different one at each place and in each instance of a template.
// NOLINTBEGIN(bugprone-macro-parentheses): T is a type, name is declared
#define GPU_SHARED(T, name, N)                                            \
  T(&name)                                                                \
  [N] = *static_cast<T(*)[N]>(::engine::kernels::emulator::static_shared( \
      []() -> const void* {                                               \
        static char key;                                                  \
        return &key;                                                      \
      }(),                                                                \
      sizeof(T) * (N), alignof(T) < 16 ? 16 : alignof(T)))
// NOLINTEND(bugprone-macro-parentheses)
