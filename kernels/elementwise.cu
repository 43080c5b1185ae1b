#include "kernels/elementwise.h"

#include "kernels/vector.h"

namespace engine::kernels {
namespace {

struct UnaryFunction {
  UnaryOp op;
  GPU_DEVICE float operator()(float x) const {
    switch (op) {
      case UnaryOp::relu:
        return relu(x);
      case UnaryOp::sigmoid:
        return 1.0f / (1.0f + expf(-x));
      case UnaryOp::exp:
        return expf(x);
      case UnaryOp::log:
        return logf(x);
      case UnaryOp::negate:
        break;
    }
    return -x;
  }
};

struct AffineFunction {
  float scale, shift;
  GPU_DEVICE float operator()(float x) const { return fmaf(scale, x, shift); }
};

struct BinaryFunction {
  BinaryOp op;
  GPU_DEVICE float operator()(float a, float b) const {
    switch (op) {
      case BinaryOp::add:
        return a + b;
      case BinaryOp::subtract:
        return a - b;
      case BinaryOp::multiply:
        return a * b;
      case BinaryOp::divide:
        break;
    }
    return a / b;
  }
};

struct AddReluFunction {
  GPU_DEVICE float operator()(float a, float b) const { return relu(a + b); }
};

struct ReluBackwardFunction {
  GPU_DEVICE float operator()(float dy, float y) const { return y > 0 ? dy : 0.0f; }
};

// y[i] = f(x[i]). The last V elements may be fewer: they go one by one.
template <class T, int V, class F>
__global__ void __launch_bounds__(kThreads) map_one(F f, const T* x, T* y, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads * V;
  for (int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * V; i < count; i += step) {
    if (i + V <= count) {
      Floats<V> values = load<V>(x + i);
#pragma unroll
      for (int j = 0; j < V; ++j) values[j] = f(values[j]);
      store(y + i, values);
    } else {
      for (int64_t j = i; j < count; ++j) y[j] = gpu::from_float<T>(f(gpu::to_float(x[j])));
    }
  }
}

// y[i] = f(a[i], b[i]), or f(a[i], b[0]) if there is only one b.
template <class T, int V, class F>
__global__ void __launch_bounds__(kThreads, 4) map_two(F f, const T* a, const T* b, T* y, int64_t count, bool one_b) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads * V;
  const float only_b = one_b ? gpu::to_float(*b) : 0.0f;
  for (int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * V; i < count; i += step) {
    if (i + V <= count) {
      Floats<V> values = load<V>(a + i), others;
      if (!one_b) others = load<V>(b + i);
#pragma unroll
      for (int j = 0; j < V; ++j) values[j] = f(values[j], one_b ? only_b : others[j]);
      store(y + i, values);
    } else {
      for (int64_t j = i; j < count; ++j)
        y[j] = gpu::from_float<T>(f(gpu::to_float(a[j]), one_b ? only_b : gpu::to_float(b[j])));
    }
  }
}

template <class F>
bool launch_one(const F& f, DataType type, const void* x, void* y, int64_t count, Stream stream) {
  if (count < 0 || (count > 0 && (!x || !y))) return false;
  if (count == 0) return true;
  return with_type(type, [&](auto stored) {
    using T = decltype(stored);
    const bool vectors = aligned16(x, y);
    const unsigned grid = blocks_for(count, vectors ? kThreads * kVector<T> : kThreads);
    return gpu::launch(vectors ? map_one<T, kVector<T>, F> : map_one<T, 1, F>,
                       {.grid = grid, .block = kThreads, .stream = stream}, f, static_cast<const T*>(x),
                       static_cast<T*>(y), count);
  });
}

template <class F>
bool launch_two(const F& f, DataType type, const void* a, const void* b, bool one_b, void* y, int64_t count,
                Stream stream) {
  if (count < 0 || (count > 0 && (!a || !b || !y))) return false;
  if (count == 0) return true;
  return with_type(type, [&](auto stored) {
    using T = decltype(stored);
    const bool vectors = aligned16(a, y) && (one_b || aligned16(b));
    const unsigned grid = blocks_for(count, vectors ? kThreads * kVector<T> : kThreads);
    return gpu::launch(vectors ? map_two<T, kVector<T>, F> : map_two<T, 1, F>,
                       {.grid = grid, .block = kThreads, .stream = stream}, f, static_cast<const T*>(a),
                       static_cast<const T*>(b), static_cast<T*>(y), count, one_b);
  });
}

// The sum: a block adds the elements of a part, a last block adds the parts.
constexpr int64_t kSumPart = 16384;

// Adds the values of all threads of the block; the result is valid in thread 0. `shared` holds kThreads values.
template <class S>
GPU_DEVICE S block_sum(S value, S* shared) {
  shared[threadIdx.x] = value;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();  // the level above has been written
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  return shared[0];
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads) sum_parts(const T* x, float* parts, int64_t count) {
  GPU_SHARED(float, shared, kThreads);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSumPart;
  const int64_t last = min(first + kSumPart, count);
  float sum = 0;
  for (int64_t i = first + static_cast<int64_t>(threadIdx.x) * V; i < last; i += kThreads * V) {
    if (i + V <= last) {
      const Floats<V> values = load<V>(x + i);
#pragma unroll
      for (int j = 0; j < V; ++j) sum += values[j];
    } else {
      for (int64_t j = i; j < last; ++j) sum += gpu::to_float(x[j]);
    }
  }
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) sum_last(const float* parts, int64_t count, float* y) {
  GPU_SHARED(double, shared, kThreads);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += static_cast<double>(parts[i]);
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) *y = static_cast<float>(sum);
}

int64_t sum_parts_of(int64_t count) {
  return (count + kSumPart - 1) / kSumPart;
}

}  // namespace

bool unary(const Unary& args, Stream stream) {
  return launch_one(UnaryFunction{args.op}, args.type, args.x, args.y, args.count, stream);
}
Cost unary_cost(const Unary& args) {
  return {.bytes = 2 * args.count * size_of(args.type), .flops = args.count};
}

bool affine(const Affine& args, Stream stream) {
  return launch_one(AffineFunction{args.scale, args.shift}, args.type, args.x, args.y, args.count, stream);
}
Cost affine_cost(const Affine& args) {
  return {.bytes = 2 * args.count * size_of(args.type), .flops = 2 * args.count};
}

bool binary(const Binary& args, Stream stream) {
  if (args.b_count != args.count && args.b_count != 1) return false;
  const bool one_b = args.b_count != args.count;
  if (one_b && args.y == args.b) return false;
  return launch_two(BinaryFunction{args.op}, args.type, args.a, args.b, one_b, args.y, args.count, stream);
}
Cost binary_cost(const Binary& args) {
  return {.bytes = (2 * args.count + args.b_count) * size_of(args.type), .flops = args.count};
}

bool add_relu(const AddRelu& args, Stream stream) {
  return launch_two(AddReluFunction{}, args.type, args.a, args.b, false, args.y, args.count, stream);
}
Cost add_relu_cost(const AddRelu& args) {
  return {.bytes = 3 * args.count * size_of(args.type), .flops = 2 * args.count};
}

bool relu_backward(const ReluBackward& args, Stream stream) {
  return launch_two(ReluBackwardFunction{}, args.type, args.dy, args.y, false, args.dx, args.count, stream);
}
Cost relu_backward_cost(const ReluBackward& args) {
  return {.bytes = 3 * args.count * size_of(args.type), .flops = args.count};
}

bool sum(const Sum& args, Stream stream) {
  const int64_t parts = sum_parts_of(args.count);
  if (args.count < 0 || !args.y || parts > INT32_MAX) return false;
  if (args.count > 0 && (!args.x || !args.workspace)) return false;
  float* const partial = static_cast<float*>(args.workspace);
  const bool summed = args.count == 0 || with_type(args.type, [&](auto stored) {
                        using T = decltype(stored);
                        return gpu::launch(aligned16(args.x) ? sum_parts<T, kVector<T>> : sum_parts<T, 1>,
                                           {.grid = static_cast<unsigned>(parts), .block = kThreads, .stream = stream},
                                           static_cast<const T*>(args.x), partial, args.count);
                      });
  return summed && gpu::launch(sum_last, {.grid = 1, .block = kThreads, .stream = stream}, partial, parts, args.y);
}
size_t sum_workspace(int64_t count) {
  return static_cast<size_t>(sum_parts_of(count)) * sizeof(float);
}
Cost sum_cost(const Sum& args) {
  return {.bytes = args.count * size_of(args.type) + 4, .flops = args.count};
}

}  // namespace engine::kernels
