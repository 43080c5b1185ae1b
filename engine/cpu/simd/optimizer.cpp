// Steps of the optimisers. See kernels.h.
#include "engine/cpu/simd/fill.h"
#include "engine/cpu/simd/vec.h"

namespace engine::cpu::ENGINE_SIMD {
namespace {

// f(first index, lanes) over vectors, then over the rest.
template <class F>
ENGINE_VEC_INLINE void for_vectors(int64_t count, F f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) f(i, kLanes);
  if (i < count) f(i, static_cast<int>(count - i));
}

ENGINE_VEC_INLINE Vec square_root(Vec x) {
  Vec y;
  for (int i = 0; i < kLanes; ++i) y[i] = __builtin_sqrtf(x[i]);
  return y;
}

ENGINE_VEC_INLINE float total(Vec x) {
  float sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += x[i];
  return sum;
}

float sum_of_squares(const float* x, float scale, int64_t count) {
  Vec sum = {};
  for_vectors(
      count, [&](int64_t i, int lanes) __attribute__((always_inline)) {
        const Vec v = load(x + i, lanes) * scale;
        sum += v * v;
      });
  return total(sum);
}

void average(float* average, const float* value, float decay, int64_t count) {
  for_vectors(
      count, [&](int64_t i, int lanes) __attribute__((always_inline)) {
        store(average + i, load(average + i, lanes) * decay + load(value + i, lanes) * (1 - decay), lanes);
      });
}

void sgd(float* parameter, const float* grad, float* momentum, const OptimizerConstants& c, int64_t count) {
  for_vectors(
      count, [&](int64_t i, int lanes) __attribute__((always_inline)) {
        const Vec p = load(parameter + i, lanes);
        Vec d = (load(grad + i, lanes) * c.grad_scale + p * c.weight_decay) * c.ratio;
        if (momentum) {
          const Vec m = load(momentum + i, lanes) * c.rule.momentum + d;
          store(momentum + i, m, lanes);
          d = c.rule.nesterov ? d + m * c.rule.momentum : m;
        }
        store(parameter + i, p - d * c.lr, lanes);
      });
}

ENGINE_VEC_INLINE Vec direction(Vec m, Vec v, const OptimizerConstants& c) {
  return m * c.correction1 / (square_root(v) * c.correction2 + c.rule.eps);
}

ENGINE_VEC_INLINE void move_moments(const float* grad, float* momentum, float* second_moment,
                                    const OptimizerConstants& c, int lanes, Vec& m, Vec& v) {
  const Vec g = load(grad, lanes) * c.grad_scale;
  m = load(momentum, lanes) * c.rule.beta1 + g * (1 - c.rule.beta1);
  v = load(second_moment, lanes) * c.rule.beta2 + g * (1 - c.rule.beta2) * g;
  store(momentum, m, lanes);
  store(second_moment, v, lanes);
}

void adamw(float* parameter, const float* grad, float* momentum, float* second_moment, const OptimizerConstants& c,
           int64_t count) {
  for_vectors(
      count, [&](int64_t i, int lanes) __attribute__((always_inline)) {
        Vec m, v;
        move_moments(grad + i, momentum + i, second_moment + i, c, lanes, m, v);
        Vec p = load(parameter + i, lanes);
        p -= p * (c.lr * c.weight_decay);
        store(parameter + i, p - direction(m, v, c) * c.lr, lanes);
      });
}

void lamb_moments(const float* parameter, const float* grad, float* momentum, float* second_moment,
                  const OptimizerConstants& c, int64_t count, float* squares) {
  Vec of_parameter = {}, of_direction = {};
  for_vectors(
      count, [&](int64_t i, int lanes) __attribute__((always_inline)) {
        Vec m, v;
        move_moments(grad + i, momentum + i, second_moment + i, c, lanes, m, v);
        const Vec p = load(parameter + i, lanes), u = direction(m, v, c) + p * c.weight_decay;
        of_parameter += p * p;
        of_direction += u * u;
      });
  squares[0] = total(of_parameter);
  squares[1] = total(of_direction);
}

void lamb(float* parameter, const float* momentum, const float* second_moment, const OptimizerConstants& c,
          int64_t count) {
  for_vectors(
      count, [&](int64_t i, int lanes) __attribute__((always_inline)) {
        const Vec p = load(parameter + i, lanes);
        const Vec u = direction(load(momentum + i, lanes), load(second_moment + i, lanes), c) + p * c.weight_decay;
        store(parameter + i, p - u * (c.lr * c.ratio), lanes);
      });
}

}  // namespace

void fill_optimizer(Kernels& table) {
  table.sum_of_squares = sum_of_squares;
  table.average = average;
  table.sgd = sgd;
  table.adamw = adamw;
  table.lamb_moments = lamb_moments;
  table.lamb = lamb;
}

}  // namespace engine::cpu::ENGINE_SIMD
