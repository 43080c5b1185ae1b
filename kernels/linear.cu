// The launchers, and matrix products of f32. kernels/linear_half.cu multiplies on tensor cores.
#include "kernels/linear.h"

#include "kernels/linear_product.h"
#include "kernels/vector.h"

namespace engine::kernels {
namespace {

// A block makes 64x64 elements in steps of 16 of the inner index, a thread 4x4 of them, 16 apart.
constexpr int kTile = 64, kInner = 16, kPart = 4, kPitch = kTile + 4;

// Fetches a tile as [inner][outer]; outside of the matrix there are zeros. kInnerFirst: the matrix is [outer, inner].
template <bool kInnerFirst>
GPU_DEVICE void fetch(float* tile, const float* matrix, int64_t outer, int64_t inner, int64_t outer0, int64_t inner0) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kInner; i += kThreads) {
    const int o = kInnerFirst ? i / kInner : i % kTile, k = kInnerFirst ? i % kInner : i / kTile;
    const bool inside = outer0 + o < outer && inner0 + k < inner;
    const int64_t at = kInnerFirst ? (outer0 + o) * inner + inner0 + k : (inner0 + k) * outer + outer0 + o;
    tile[k * kPitch + o] = inside ? matrix[at] : 0.0f;
  }
}

template <bool kAInnerFirst, bool kBInnerFirst>
__global__ void __launch_bounds__(kThreads, 2)
    multiply(const float* a, const float* b, const float* bias, float* d, int64_t m, int64_t n, int64_t k) {
  GPU_SHARED(float, a_tile, kInner* kPitch);
  GPU_SHARED(float, b_tile, kInner* kPitch);
  const int row = static_cast<int>(threadIdx.x) / 16, column = static_cast<int>(threadIdx.x) % 16;
  const int64_t m0 = static_cast<int64_t>(blockIdx.y) * kTile, n0 = static_cast<int64_t>(blockIdx.x) * kTile;
  float sums[kPart][kPart] = {};
  for (int64_t k0 = 0; k0 < k; k0 += kInner) {
    fetch<kAInnerFirst>(a_tile, a, m, k, m0, k0);
    fetch<kBInnerFirst>(b_tile, b, n, k, n0, k0);
    __syncthreads();  // the tiles have arrived
#pragma unroll
    for (int inner = 0; inner < kInner; ++inner) {
      float from_a[kPart], from_b[kPart];
#pragma unroll
      for (int i = 0; i < kPart; ++i) {
        from_a[i] = a_tile[inner * kPitch + row + 16 * i];
        from_b[i] = b_tile[inner * kPitch + column + 16 * i];
      }
#pragma unroll
      for (int i = 0; i < kPart; ++i)
#pragma unroll
        for (int j = 0; j < kPart; ++j) sums[i][j] = fmaf(from_a[i], from_b[j], sums[i][j]);
    }
    __syncthreads();  // the tiles have been used, the next may overwrite them
  }
#pragma unroll
  for (int i = 0; i < kPart; ++i)
#pragma unroll
    for (int j = 0; j < kPart; ++j) {
      const int64_t to_row = m0 + row + 16 * i, to_column = n0 + column + 16 * j;
      if (to_row < m && to_column < n) d[to_row * n + to_column] = sums[i][j] + (bias ? bias[to_column] : 0.0f);
    }
}

bool product(const Product& p, Stream stream) {
  if (p.m < 1 || p.n < 1 || p.k < 1 || !p.a || !p.b || !p.d) return false;
  return p.type == DataType::f32 ? product_float(p, stream) : product_half(p, stream);
}

// All three products multiply N*C*K pairs and touch the same three matrices.
Cost cost_of(const LinearShape& s, int64_t x_bytes, int64_t w_bytes, int64_t y_bytes) {
  return {.bytes = s.n * s.c * x_bytes + s.k * s.c * w_bytes + s.n * s.k * y_bytes, .flops = 2 * s.n * s.c * s.k};
}

}  // namespace

bool product_float(const Product& p, Stream stream) {
  const int64_t rows = (p.m + kTile - 1) / kTile, columns = (p.n + kTile - 1) / kTile;
  if (rows > 65535 || columns > INT32_MAX) return false;
  const auto kernel = p.form == Product::Form::forward         ? multiply<true, true>
                      : p.form == Product::Form::backward_data ? multiply<true, false>
                                                               : multiply<false, false>;
  return gpu::launch(
      kernel,
      {.grid = {static_cast<unsigned>(columns), static_cast<unsigned>(rows)}, .block = kThreads, .stream = stream},
      static_cast<const float*>(p.a), static_cast<const float*>(p.b), p.bias, static_cast<float*>(p.d), p.m, p.n, p.k);
}

bool linear_forward(const LinearForward& args, Stream stream) {
  const LinearShape& s = args.shape;
  return product({.form = Product::Form::forward,
                  .type = args.type,
                  .m = s.n,
                  .n = s.k,
                  .k = s.c,
                  .a = args.x,
                  .b = args.w,
                  .bias = args.bias,
                  .d = args.y},
                 stream);
}
Cost linear_forward_cost(const LinearForward& args) {
  const int64_t size = size_of(args.type);
  return cost_of(args.shape, size, size, size);
}

bool linear_backward_data(const LinearBackwardData& args, Stream stream) {
  const LinearShape& s = args.shape;
  return product({.form = Product::Form::backward_data,
                  .type = args.type,
                  .m = s.n,
                  .n = s.c,
                  .k = s.k,
                  .a = args.dy,
                  .b = args.w,
                  .bias = nullptr,
                  .d = args.dx},
                 stream);
}
Cost linear_backward_data_cost(const LinearBackwardData& args) {
  const int64_t size = size_of(args.type);
  return cost_of(args.shape, size, size, size);
}

bool linear_backward_weights(const LinearBackwardWeights& args, Stream stream) {
  const LinearShape& s = args.shape;
  return product({.form = Product::Form::backward_weights,
                  .type = args.type,
                  .m = s.k,
                  .n = s.c,
                  .k = s.n,
                  .a = args.dy,
                  .b = args.x,
                  .bias = nullptr,
                  .d = args.dw},
                 stream);
}
Cost linear_backward_weights_cost(const LinearBackwardWeights& args) {
  const int64_t size = size_of(args.type);
  return cost_of(args.shape, size, 4, size);
}

}  // namespace engine::kernels
