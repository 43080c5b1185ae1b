#include "kernels/optimizer.h"

#include "kernels/vector.h"

namespace engine::kernels {
namespace {

// What a kernel loads of each element. Whatever of these the chunk has not is zero.
enum Parts : unsigned { kParameter = 1, kGrad = 2, kMomentum = 4, kSecondMoment = 8 };

struct Element {
  float p, g, m, v;
};

// The workspace: what the bias of both moments is corrected by, then two partial sums a chunk.
constexpr int kCorrections = 2;

// t = 1, 2, ...: 1 / (1 - beta1^t) and 1 / sqrt(1 - beta2^t). In double: 1 - 0.999 has few bits left in f32.
__global__ void __launch_bounds__(32)
    count_step(int64_t* steps, const uint32_t* skip, float beta1, float beta2, float* corrections) {
  if (threadIdx.x != 0 || (skip && *skip != 0)) return;
  const auto t = static_cast<double>(++*steps);
  corrections[0] = static_cast<float>(1 / (1 - pow(static_cast<double>(beta1), t)));
  corrections[1] = static_cast<float>(1 / sqrt(1 - pow(static_cast<double>(beta2), t)));
}

// f(element) for V elements at `at`; `stored` are the parts to be written back. T: of the half copy.
template <class T, unsigned kLoaded, int V, class F>
GPU_DEVICE void change(const OptimizerChunk& chunk, int at, float grad_scale, unsigned stored, const F& f) {
  Floats<V> p = {}, g = {}, m = {}, v = {};
  if constexpr ((kLoaded & kParameter) != 0) p = load<V>(chunk.parameter + at);
  if constexpr ((kLoaded & kGrad) != 0) g = load<V>(chunk.grad + at);
  if constexpr ((kLoaded & kMomentum) != 0)
    if (chunk.momentum) m = load<V>(chunk.momentum + at);
  if constexpr ((kLoaded & kSecondMoment) != 0) v = load<V>(chunk.second_moment + at);
#pragma unroll
  for (int i = 0; i < V; ++i) {
    Element e = {p[i], g[i] * grad_scale, m[i], v[i]};
    f(e);
    p[i] = e.p, m[i] = e.m, v[i] = e.v;
  }
  if ((stored & kParameter) != 0) {
    store<V>(chunk.parameter + at, p);
    if (T* const half_copy = static_cast<T*>(chunk.half_copy)) {
      if constexpr (V == 4)
        *reinterpret_cast<uint2*>(half_copy + at) = make_uint2(gpu::pack2<T>(p[0], p[1]), gpu::pack2<T>(p[2], p[3]));
      else
        half_copy[at] = gpu::from_float<T>(p[0]);
    }
  }
  if ((stored & kMomentum) != 0 && chunk.momentum) store<V>(chunk.momentum + at, m);
  if ((stored & kSecondMoment) != 0) store<V>(chunk.second_moment + at, v);
}

GPU_DEVICE bool is_wide(const OptimizerChunk& chunk) {
  return ((reinterpret_cast<uintptr_t>(chunk.parameter) | reinterpret_cast<uintptr_t>(chunk.grad) |
           reinterpret_cast<uintptr_t>(chunk.momentum) | reinterpret_cast<uintptr_t>(chunk.second_moment)) %
              16 |
          reinterpret_cast<uintptr_t>(chunk.half_copy) % 8) == 0;
}

// The same for the first `count` elements.
template <class T, unsigned kLoaded, class F>
GPU_DEVICE void for_each(const OptimizerChunk& chunk, int count, float grad_scale, unsigned stored, const F& f) {
  const int vectors = is_wide(chunk) ? count / 4 : 0;
  for (int i = static_cast<int>(threadIdx.x); i < vectors; i += kThreads)
    change<T, kLoaded, 4>(chunk, 4 * i, grad_scale, stored, f);
  for (int i = 4 * vectors + static_cast<int>(threadIdx.x); i < count; i += kThreads)
    change<T, kLoaded, 1>(chunk, i, grad_scale, stored, f);
}

// Sums of both over the block, in every thread.
GPU_DEVICE double2 block_sum(double a, double b) {
  GPU_SHARED(double, shared, 2 * kThreads);
  const unsigned thread = threadIdx.x;
  shared[thread] = a, shared[kThreads + thread] = b;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();  // the level above has been written
    if (thread < half) {
      shared[thread] += shared[thread + half];
      shared[kThreads + thread] += shared[kThreads + thread + half];
    }
  }
  __syncthreads();  // the sums are there
  return make_double2(shared[0], shared[kThreads]);
}

GPU_DEVICE int count_of(const OptimizerChunk& chunk, const uint32_t* skip) {
  return skip && *skip != 0 ? 0 : static_cast<int>(chunk.count);
}
GPU_DEVICE float scale_of(const float* grad_scale) {
  return grad_scale ? *grad_scale : 1.0f;
}

struct Norms {  // of a tensor; 0: no ratio is to be taken
  float parameter = 0, other = 0;
};
GPU_DEVICE Norms norms_of(const OptimizerChunk& chunk, const float* partials) {
  double a = 0, b = 0;
  for (int i = static_cast<int>(threadIdx.x); i < chunk.num; i += kThreads) {
    a += static_cast<double>(partials[2 * (chunk.first + i)]);
    b += static_cast<double>(partials[2 * (chunk.first + i) + 1]);
  }
  const double2 sums = block_sum(a, b);
  return {static_cast<float>(sqrt(sums.x)), static_cast<float>(sqrt(sums.y))};
}

// Before a lars step: the squares of parameter and gradient.
__global__ void __launch_bounds__(kThreads)
    square_chunks(const OptimizerChunk* chunks, const float* grad_scale, const uint32_t* skip, float* partials) {
  const OptimizerChunk chunk = chunks[blockIdx.x];
  float parameter = 0, grad = 0;
  for_each<bf16, kParameter | kGrad>(chunk, count_of(chunk, skip), scale_of(grad_scale), 0, [&](const Element& e) {
    parameter = fmaf(e.p, e.p, parameter);
    grad = fmaf(e.g, e.g, grad);
  });
  const double2 sums = block_sum(static_cast<double>(parameter), static_cast<double>(grad));
  if (threadIdx.x != 0) return;
  partials[2 * blockIdx.x] = static_cast<float>(sums.x);
  partials[2 * blockIdx.x + 1] = static_cast<float>(sums.y);
}

GPU_DEVICE void move_moments(Element& e, float beta1, float beta2) {
  e.m = fmaf(beta1, e.m, (1 - beta1) * e.g);
  e.v = fmaf(beta2, e.v, (1 - beta2) * e.g * e.g);
}
GPU_DEVICE float adam_direction(const Element& e, const float* corrections, float eps) {
  return e.m * corrections[0] / fmaf(sqrtf(e.v), corrections[1], eps);
}

// The first half of a lamb step: the moments, and the squares of the parameter and of its direction.
__global__ void __launch_bounds__(kThreads)
    move_chunks(const OptimizerChunk* chunks, const float* grad_scale, const uint32_t* skip, OptimizerRule rule,
                const float* corrections, float* partials) {
  const OptimizerChunk chunk = chunks[blockIdx.x];
  float parameter = 0, direction = 0;
  for_each<bf16, kParameter | kGrad | kMomentum | kSecondMoment>(
      chunk, count_of(chunk, skip), scale_of(grad_scale), kMomentum | kSecondMoment, [&](Element& e) {
        move_moments(e, rule.beta1, rule.beta2);
        const float u = fmaf(chunk.weight_decay, e.p, adam_direction(e, corrections, rule.eps));
        parameter = fmaf(e.p, e.p, parameter);
        direction = fmaf(u, u, direction);
      });
  const double2 sums = block_sum(static_cast<double>(parameter), static_cast<double>(direction));
  if (threadIdx.x != 0) return;
  partials[2 * blockIdx.x] = static_cast<float>(sums.x);
  partials[2 * blockIdx.x + 1] = static_cast<float>(sums.y);
}

// The new parameters. A block a chunk. Three blocks a multiprocessor: left to itself, ptxas aims at more for sm_90a and
// spills.
template <class T, OptimizerKind kKind>
__global__ void __launch_bounds__(kThreads, 3)
    step(const OptimizerChunk* chunks, const float* lr_on_device, const float* grad_scale, const uint32_t* skip,
         OptimizerRule rule, const float* corrections, const float* partials) {
  const OptimizerChunk chunk = chunks[blockIdx.x];
  const int count = count_of(chunk, skip);
  const float lr = *lr_on_device, decay = chunk.weight_decay, scale = scale_of(grad_scale);
  float ratio = 1;
  if constexpr (kKind == OptimizerKind::lars || kKind == OptimizerKind::lamb) {
    const Norms norms = norms_of(chunk, partials);
    if (decay != 0 && norms.parameter > 0 && norms.other > 0)
      ratio = kKind == OptimizerKind::lamb
                  ? norms.parameter / norms.other
                  : rule.trust * norms.parameter / (fmaf(decay, norms.parameter, norms.other) + rule.eps);
  }
  if constexpr (kKind == OptimizerKind::sgd || kKind == OptimizerKind::lars) {
    const bool has_momentum = chunk.momentum != nullptr;
    for_each<T, kParameter | kGrad | kMomentum>(chunk, count, scale, kParameter | kMomentum, [&](Element& e) {
      float d = fmaf(decay, e.p, e.g);
      if constexpr (kKind == OptimizerKind::lars) d *= ratio;
      if (has_momentum) {
        e.m = fmaf(rule.momentum, e.m, d);
        d = rule.nesterov ? fmaf(rule.momentum, e.m, d) : e.m;
      }
      e.p = fmaf(-lr, d, e.p);
    });
  } else if constexpr (kKind == OptimizerKind::adamw) {
    for_each<T, kParameter | kGrad | kMomentum | kSecondMoment>(
        chunk, count, scale, kParameter | kMomentum | kSecondMoment, [&](Element& e) {
          move_moments(e, rule.beta1, rule.beta2);
          e.p = fmaf(-lr * decay, e.p, e.p);
          e.p = fmaf(-lr, adam_direction(e, corrections, rule.eps), e.p);
        });
  } else {
    for_each<T, kParameter | kMomentum | kSecondMoment>(chunk, count, scale, kParameter, [&](Element& e) {
      const float u = fmaf(decay, e.p, adam_direction(e, corrections, rule.eps));
      e.p = fmaf(-lr * ratio, u, e.p);
    });
  }
}

template <class T>
auto step_of(OptimizerKind kind) {
  switch (kind) {
    case OptimizerKind::lars:
      return step<T, OptimizerKind::lars>;
    case OptimizerKind::adamw:
      return step<T, OptimizerKind::adamw>;
    case OptimizerKind::lamb:
      return step<T, OptimizerKind::lamb>;
    case OptimizerKind::sgd:
      break;
  }
  return step<T, OptimizerKind::sgd>;
}

}  // namespace

bool optimizer_step(const OptimizerStep& args, Stream stream) {
  if (args.num_chunks < 0 || args.num_chunks > INT32_MAX || args.half_type == DataType::f32) return false;
  if (args.num_chunks == 0) return true;
  const OptimizerRule& rule = args.rule;
  if (!args.chunks || !args.lr || (rule.has_moments() && !args.steps)) return false;
  if (optimizer_workspace(rule.kind, args.num_chunks) > 0 && !args.workspace) return false;
  float* const corrections = static_cast<float*>(args.workspace);
  float* const partials = rule.has_ratio() ? corrections + kCorrections : nullptr;
  const gpu::LaunchConfig size = {.grid = static_cast<unsigned>(args.num_chunks), .block = kThreads, .stream = stream};
  if (rule.has_moments() && !gpu::launch(count_step, {.grid = 1, .block = 32, .stream = stream}, args.steps, args.skip,
                                         rule.beta1, rule.beta2, corrections))
    return false;
  if (rule.kind == OptimizerKind::lars &&
      !gpu::launch(square_chunks, size, args.chunks, args.grad_scale, args.skip, partials))
    return false;
  if (rule.kind == OptimizerKind::lamb &&
      !gpu::launch(move_chunks, size, args.chunks, args.grad_scale, args.skip, rule, corrections, partials))
    return false;
  return gpu::launch(args.half_type == DataType::bf16 ? step_of<bf16>(rule.kind) : step_of<f16>(rule.kind), size,
                     args.chunks, args.lr, args.grad_scale, args.skip, rule, corrections, partials);
}
size_t optimizer_workspace(OptimizerKind kind, int64_t num_chunks) {
  if (kind == OptimizerKind::sgd) return 0;
  const int64_t partials = kind == OptimizerKind::adamw ? 0 : 2 * num_chunks;
  return static_cast<size_t>(kCorrections + partials) * sizeof(float);
}
Cost optimizer_step_cost(const OptimizerStep& args, int64_t elements, bool half_copies) {
  int64_t bytes = half_copies ? 2 : 0, flops = 0;
  switch (args.rule.kind) {
    case OptimizerKind::sgd:
    case OptimizerKind::lars:
      bytes += args.rule.momentum != 0 ? 20 : 12;
      flops = args.rule.momentum != 0 ? (args.rule.nesterov ? 8 : 6) : 4;
      if (args.rule.kind == OptimizerKind::lars) bytes += 8, flops += 5;
      break;
    case OptimizerKind::adamw:
      bytes += 28, flops = 15;
      break;
    case OptimizerKind::lamb:
      bytes += 24 + 16, flops = 25;
      break;
  }
  return {.bytes = elements * bytes, .flops = elements * flops};
}

}  // namespace engine::kernels
