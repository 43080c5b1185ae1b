// main() of kernel tests on a GPU; without one it says so and exits with 77, which ctest shows as skipped.
#include <cstdio>

#include "kernels/cuda/runtime.h"
#include "tests/kernels/device_buffer.h"

namespace engine::testing {

const kernels::Runtime& device() {
  return kernels::cuda::runtime();
}

}  // namespace engine::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  int count = 0;
  const auto status = engine::testing::device().device_count(&count);
  if (!status.ok() || count == 0) {
    std::fprintf(stderr, "SKIPPED: no GPU to test on: %s\n", status.ok() ? "no device is visible" : status.text);
    return 77;
  }
  engine::kernels::DeviceProperties properties;
  if (engine::testing::device().device_properties(0, &properties).ok())
    std::printf("%s, sm_%d%d\n", properties.name, properties.major, properties.minor);
  return RUN_ALL_TESTS();
}
