// The kernels alone: one of the library's and one of this program's own, on plain pointers of the emulated device.
#include <cstdio>

#include <scale.h>
#include "kernels/elementwise.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/runtime.h"

using namespace engine::kernels;

int main() {
  const Runtime& device = emulator::runtime();
  constexpr int64_t kCount = 1000;
  static float values[kCount], expected[kCount];
  for (int64_t i = 0; i < kCount; ++i) {
    values[i] = static_cast<float>(i) - 500;
    expected[i] = values[i] > 0 ? 3 * values[i] : 0;
  }
  void* data = nullptr;
  const auto ok = [](const Status& status) {
    return status.ok() || (std::fprintf(stderr, "%s\n", status.text), false);
  };
  if (!ok(device.malloc_device(&data, sizeof values)) || !ok(device.copy_to_device(data, values, sizeof values, {})))
    return 1;
  auto* x = static_cast<float*>(data);
  if (!unary({.op = UnaryOp::relu, .count = kCount, .x = x, .y = x}, {})) return 2;
  if (!scale<Platform::emulated>(x, x, kCount, 3, {})) return 3;
  if (!ok(device.copy_to_host(values, data, sizeof values, {})) || !ok(device.free_device(data))) return 4;
  for (int64_t i = 0; i < kCount; ++i)
    if (values[i] != expected[i]) return 5;
  if (emulator::finding_count() != 0) return 6;
  std::printf("kernels: %s\n", device.name);
  return 0;
}
