#pragma once
// Launching a kernel: grid, block, and arguments by value.
#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/emulator/language.h"
#include "kernels/emulator/thread_view.h"
#include "kernels/types.h"

namespace engine::kernels::gpu {

struct LaunchConfig {
  dim3 grid, block;
  size_t shared_bytes = 0;  // dynamic shared memory of each block
  Stream stream = nullptr;
  emulator::Site site = emulator::Site::current();
};

}  // namespace engine::kernels::gpu

namespace engine::kernels::emulator {

// Runs `body` once for each thread of the grid, or records it if the stream is being captured. False: the GPU would
// refuse this configuration (last_error() of the runtime tells why), or the launch failed on the way.
bool launch(const gpu::LaunchConfig& config, std::function<void()> body);

// An address that a kernel is given must be of the device's memory, or null.
void check_argument(int number, const void* address, Site site);
template <class T>
void check_argument(int number, const T& value, Site site) {
  if constexpr (std::is_pointer_v<T>) check_argument(number, static_cast<const void*>(value), site);
}

}  // namespace engine::kernels::emulator

namespace engine::kernels::gpu {

// Arguments are converted to the kernel's parameter types first, as a call would.
template <class... Parameters, class... Arguments>
bool launch(void (*kernel)(Parameters...), const LaunchConfig& config, Arguments&&... arguments) {
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  std::apply(
      [&](const Parameters&... value) {
        int number = 0;
        (emulator::check_argument(++number, value, config.site), ...);
      },
      values);
  return emulator::launch(config, [kernel, values] { std::apply(kernel, values); });
}

// Compute capability of the emulated device, 10 * major + minor.
inline int compute_capability() {
  return 90;
}

}  // namespace engine::kernels::gpu
