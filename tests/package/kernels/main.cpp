// The kernels alone: one of the library's and one of this program's own, on plain pointers of the emulated device.
#include <row_norm.h>

#include <cstdio>

#include "kernels/elementwise.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/runtime.h"

using namespace engine::kernels;

int main() {
  const Runtime& device = emulator::runtime();
  float x[2][4] = {{3, -1, 4, -7}, {-2, -2, 5, 12}}, y[2] = {};
  void *dx = nullptr, *dy = nullptr;
  if (!device.malloc_device(&dx, sizeof x).ok() || !device.malloc_device(&dy, sizeof y).ok()) return 1;
  if (!device.copy_to_device(dx, x, sizeof x, {}).ok()) return 1;
  if (!unary({.op = UnaryOp::relu, .count = 8, .x = dx, .y = dx}, {})) return 2;
  if (!row_norm<Platform::emulated>(static_cast<float*>(dx), static_cast<float*>(dy), 2, 4, {})) return 3;
  if (!device.copy_to_host(y, dy, sizeof y, {}).ok() || !device.free_device(dx).ok() || !device.free_device(dy).ok())
    return 1;
  std::printf("%s: norms %g and %g\n", device.name, y[0], y[1]);
  return y[0] == 5 && y[1] == 13 && emulator::finding_count() == 0 ? 0 : 4;
}
