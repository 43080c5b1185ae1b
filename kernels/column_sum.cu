// The sum over rows: the gradient of a bias.
#include "kernels/batch_norm_parts.h"
#include "kernels/linear.h"

namespace engine::kernels {
namespace {

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    sum_parts(const T* x, float* partials, int64_t rows, int64_t channels, int64_t rows_per_part, int lanes) {
  GPU_SHARED(float, shared, V* kThreads);
  const ChannelThread thread = channel_thread<V>(lanes, channels);
  const int64_t first = blockIdx.x * rows_per_part, last = min(first + rows_per_part, rows);
  Floats<V> sums[1] = {};
  if (thread.active)
    for (int64_t row = first + thread.row; row < last; row += thread.rows) {
      const Floats<V> values = load<V>(x + row * channels + thread.c);
#pragma unroll
      for (int j = 0; j < V; ++j) sums[0][j] += values[j];
    }
  add_rows(sums, lanes, shared);
  if (thread.row == 0 && thread.active) store(partials + blockIdx.x * channels + thread.c, sums[0]);
}

}  // namespace

bool column_sum(const ColumnSum& args, Stream stream) {
  if (args.rows < 1 || args.channels < 1 || !args.x || !args.y || !args.workspace) return false;
  const RowParts parts = row_parts(args.rows, args.channels);
  // The second launch sums the f32 [parts, channels] of the first; one launch suffices for one part.
  float* const partials = parts.parts == 1 ? args.y : static_cast<float*>(args.workspace);
  const auto launch = [&](auto stored, const void* x, float* y, int64_t rows, const RowParts& split) {
    using T = decltype(stored);
    const bool vectors = args.channels % kVector<T> == 0 && aligned16(x, y);
    const ChannelGrid grid = vectors ? channel_grid<kVector<T>>(args.channels) : channel_grid<1>(args.channels);
    return grid.launchable() &&
           gpu::launch(vectors ? sum_parts<T, kVector<T>> : sum_parts<T, 1>,
                       {.grid = grid.grid(split.parts), .block = kThreads, .stream = stream}, static_cast<const T*>(x),
                       y, rows, args.channels, split.rows_per_part, grid.lanes);
  };
  return with_type(args.type, [&](auto stored) { return launch(stored, args.x, partials, args.rows, parts); }) &&
         (parts.parts == 1 || launch(float{}, partials, args.y, parts.parts, {parts.parts, 1}));
}
size_t column_sum_workspace(int64_t rows, int64_t channels) {
  return static_cast<size_t>(row_parts(rows, channels).parts * channels) * sizeof(float);
}
Cost column_sum_cost(const ColumnSum& args) {
  return {.bytes = args.rows * args.channels * size_of(args.type) + 4 * args.channels,
          .flops = args.rows * args.channels};
}

}  // namespace engine::kernels
