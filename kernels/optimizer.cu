#include "kernels/optimizer.h"

#include "kernels/vector.h"

namespace engine::kernels {
namespace {

struct Rule {
  float momentum;
  bool nesterov, first;
};

// One element; `m` is its momentum buffer, or null.
GPU_DEVICE float updated(float p, float grad, float* m, float lr, float weight_decay, const Rule& rule) {
  const float d = fmaf(weight_decay, p, grad);
  if (!m) return fmaf(-lr, d, p);
  *m = rule.first ? d : fmaf(rule.momentum, *m, d);
  return fmaf(-lr, rule.nesterov ? fmaf(rule.momentum, *m, d) : *m, p);
}

template <class T>
GPU_DEVICE void store_half(T* to, float4 v) {
  *reinterpret_cast<uint2*>(to) = make_uint2(gpu::pack2<T>(v.x, v.y), gpu::pack2<T>(v.z, v.w));
}

// A block a chunk.
template <class T>
__global__ void __launch_bounds__(kThreads)
    step(const SgdChunk* chunks, const float* lr_on_device, const float* grad_scale, const uint32_t* skip, Rule rule) {
  if (skip && *skip != 0) return;
  const SgdChunk chunk = chunks[blockIdx.x];
  const float lr = *lr_on_device, scale = grad_scale ? *grad_scale : 1.0f, decay = chunk.weight_decay;
  T* const half_copy = static_cast<T*>(chunk.half_copy);
  const bool wide =
      (reinterpret_cast<uintptr_t>(chunk.parameter) % 16 | reinterpret_cast<uintptr_t>(chunk.grad) % 16 |
       reinterpret_cast<uintptr_t>(chunk.momentum_buffer) % 16 | reinterpret_cast<uintptr_t>(chunk.half_copy) % 8) == 0;
  const int count = static_cast<int>(chunk.count), vectors = wide ? count / 4 : 0;
  for (int i = static_cast<int>(threadIdx.x); i < vectors; i += kThreads) {
    float4 p = reinterpret_cast<const float4*>(chunk.parameter)[i];
    const float4 g = reinterpret_cast<const float4*>(chunk.grad)[i];
    float4 m = {};
    const bool has_momentum = chunk.momentum_buffer != nullptr;
    if (has_momentum && !rule.first) m = reinterpret_cast<const float4*>(chunk.momentum_buffer)[i];
    p.x = updated(p.x, g.x * scale, has_momentum ? &m.x : nullptr, lr, decay, rule);
    p.y = updated(p.y, g.y * scale, has_momentum ? &m.y : nullptr, lr, decay, rule);
    p.z = updated(p.z, g.z * scale, has_momentum ? &m.z : nullptr, lr, decay, rule);
    p.w = updated(p.w, g.w * scale, has_momentum ? &m.w : nullptr, lr, decay, rule);
    reinterpret_cast<float4*>(chunk.parameter)[i] = p;
    if (has_momentum) reinterpret_cast<float4*>(chunk.momentum_buffer)[i] = m;
    if (half_copy) store_half(half_copy + 4 * i, p);
  }
  for (int i = 4 * vectors + static_cast<int>(threadIdx.x); i < count; i += kThreads) {
    const float p = updated(chunk.parameter[i], chunk.grad[i] * scale,
                            chunk.momentum_buffer ? chunk.momentum_buffer + i : nullptr, lr, decay, rule);
    chunk.parameter[i] = p;
    if (half_copy) half_copy[i] = gpu::from_float<T>(p);
  }
}

}  // namespace

bool sgd_step(const SgdStep& args, Stream stream) {
  if (args.num_chunks < 0 || args.num_chunks > INT32_MAX || args.half_type == DataType::f32) return false;
  if (args.num_chunks == 0) return true;
  if (!args.chunks || !args.lr) return false;
  return gpu::launch(args.half_type == DataType::bf16 ? step<bf16> : step<f16>,
                     {.grid = static_cast<unsigned>(args.num_chunks), .block = kThreads, .stream = stream}, args.chunks,
                     args.lr, args.grad_scale, args.skip, Rule{args.momentum, args.nesterov, args.first});
}
Cost sgd_step_cost(const SgdStep& args, int64_t elements, bool half_copies) {
  const bool momentum = args.momentum != 0;
  return {.bytes = elements * ((momentum ? 20 : 12) + (half_copies ? 2 : 0)),
          .flops = elements * (momentum ? (args.nesterov ? 8 : 6) : 4)};
}

}  // namespace engine::kernels
