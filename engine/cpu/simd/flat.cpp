// Operations on flat arrays. See kernels.h.
#include "engine/cpu/simd/fill.h"
#include "engine/cpu/simd/vec.h"

namespace engine::cpu::ENGINE_SIMD {
namespace {

// y[i] = f(a[i], b[i]) over vectors, then over the rest.
template <class Y, class A, class B, class F>
ENGINE_VEC_INLINE void map(const A* a, const B* b, Y* y, int64_t count, F f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, f(load(a + i), load(b + i)));
  if (const int rest = static_cast<int>(count - i); rest > 0)
    store(y + i, f(load(a + i, rest), load(b + i, rest)), rest);
}

template <class T>
void add(const T* a, const T* b, T* y, int64_t count) {
  map(a, b, y, count, [](Vec u, Vec v) { return u + v; });
}

template <class T>
void add_relu(const T* a, const T* b, T* y, int64_t count) {
  map(a, b, y, count, [](Vec u, Vec v) { return relu(u + v); });
}

template <class T>
void relu_flat(const T* x, T* y, int64_t count) {
  map(x, x, y, count, [](Vec u, Vec) { return relu(u); });
}

template <class T>
void relu_backward(const T* dy, const T* y, T* dx, int64_t count) {
  map(dy, y, dx, count, [](Vec g, Vec v) { return v > 0.0f ? g : Vec{}; });
}

template <class T>
void affine(const T* x, float scale, float shift, T* y, int64_t count) {
  map(x, x, y, count, [=](Vec u, Vec) { return u * scale + shift; });
}

void to_bf16(const float* x, kernels::bf16* y, int64_t count) {
  map(x, x, y, count, [](Vec u, Vec) { return u; });
}

void to_f32(const kernels::bf16* x, float* y, int64_t count) {
  map(x, x, y, count, [](Vec u, Vec) { return u; });
}

template <class T>
void fill(TypedKernels<T>& table) {
  table.add = add<T>;
  table.add_relu = add_relu<T>;
  table.relu = relu_flat<T>;
  table.relu_backward = relu_backward<T>;
  table.affine = affine<T>;
}

}  // namespace

void fill_flat(Kernels& table) {
  fill(table.f32);
  fill(table.bf16);
  table.to_bf16 = to_bf16;
  table.to_f32 = to_f32;
}

}  // namespace engine::cpu::ENGINE_SIMD
