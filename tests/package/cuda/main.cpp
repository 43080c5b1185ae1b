// As tests/package/kernels, on a GPU. Without one nothing is launched, and the program has only been linked and
// started.
#include <cuda_runtime.h>
#include <row_norm.h>

#include <cstdio>

#include "kernels/elementwise.h"

using namespace engine::kernels;

int main() {
  float x[2][4] = {{3, -1, 4, -7}, {-2, -2, 5, 12}}, y[2] = {};
  void *dx = nullptr, *dy = nullptr;
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
    std::printf("no GPU\n");
    return unary({.op = UnaryOp::relu, .count = 8}, {}) || row_norm<Platform::cuda>(x[0], y, 2, 4, {}) ? 1 : 0;
  }
  if (cudaMalloc(&dx, sizeof x) != cudaSuccess || cudaMalloc(&dy, sizeof y) != cudaSuccess) return 2;
  if (cudaMemcpy(dx, x, sizeof x, cudaMemcpyHostToDevice) != cudaSuccess) return 2;
  if (!unary({.op = UnaryOp::relu, .count = 8, .x = dx, .y = dx}, {})) return 3;
  if (!row_norm<Platform::cuda>(static_cast<float*>(dx), static_cast<float*>(dy), 2, 4, {})) return 4;
  if (cudaMemcpy(y, dy, sizeof y, cudaMemcpyDeviceToHost) != cudaSuccess) return 5;
  std::printf("CUDA: norms %g and %g\n", y[0], y[1]);
  return y[0] == 5 && y[1] == 13 ? 0 : 6;
}
