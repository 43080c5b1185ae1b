// row_norm against plain loops, on the emulator: small integers, whose sums f32 holds exactly, so the results are
// equal.
#include "row_norm.h"

#include <cmath>
#include <cstdio>
#include <vector>

#include "kernels/emulator/report.h"
#include "kernels/emulator/runtime.h"
using namespace engine::kernels;

int main() {
  const Runtime& device = emulator::runtime();
  const int64_t rows = 3, columns = 1000;
  std::vector<float> x(rows * columns), y(rows);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3;

  void *dx = nullptr, *dy = nullptr;
  if (!device.malloc_device(&dx, x.size() * sizeof(float)).ok()) return 2;
  if (!device.malloc_device(&dy, y.size() * sizeof(float)).ok()) return 2;
  if (!device.copy_to_device(dx, x.data(), x.size() * sizeof(float), nullptr).ok()) return 2;
  if (!row_norm<Platform::emulated>(static_cast<float*>(dx), static_cast<float*>(dy), rows, columns, nullptr)) return 2;
  if (!device.copy_to_host(y.data(), dy, y.size() * sizeof(float), nullptr).ok()) return 2;
  if (!device.free_device(dx).ok() || !device.free_device(dy).ok()) return 2;

  int wrong = 0;
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += std::pow(x[r * columns + c], 2);
    if (y[r] != std::sqrt(static_cast<float>(sum))) ++wrong;
  }
  std::printf("%d of %d rows are wrong, the emulator reports %d findings\n", wrong, static_cast<int>(rows),
              static_cast<int>(emulator::finding_count()));
  return wrong == 0 && emulator::finding_count() == 0 ? 0 : 1;
}
