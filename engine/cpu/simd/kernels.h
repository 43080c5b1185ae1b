#pragma once
// The inner loops of the CPU backend: one table of functions per instruction set, chosen once at run time.
//
// Channels come in vectors of 16. A *column* is `count` such vectors, `stride` elements apart: the pixels of one block
// of channels, in blocked16 (stride 16) as well as in nhwc (stride C). `lanes` is 16 except for the last block of an
// nhwc tensor whose C is no multiple of 16. Per-channel arrays hold 16 floats. All sums are f32, in an order that
// depends on nothing but the arguments.
#include <cstdint>

#include "kernels/optimizer_rule.h"
#include "kernels/types.h"

namespace engine::cpu {

struct Column {
  int64_t count = 0, stride = 16;
  int lanes = 16;
};

// How the ReLU's mask is known in a backward pass.
enum class Mask { none, from_y };

// y = (x - mean) * scale + shift (+ residual) (then ReLU)
struct Normalise {
  const float *mean, *scale, *shift;
  bool relu;
};

// dx = a * dy + b * (x - mean) + d
struct NormaliseBackward {
  const float *mean, *a, *b, *d;
};

// A window's position on one axis in pooling: out index p covers in indices p*stride - padding + [0, window).
struct PoolPlane {
  int64_t h, w, p, q, window, stride, padding;
};

template <class T>
struct TypedKernels {
  // Mean and sum of squared deviations of each channel.
  void (*column_statistics)(const T* x, const Column& column, float* mean, float* m2);
  void (*column_sum)(const T* x, const Column& column, float* sum);
  void (*normalise)(const T* x, const T* residual, T* y, const Column& column, const Normalise& args);
  // dy is masked where y <= 0 if y is given, and written to dresidual if that is given. Sums of dy and of
  // dy * (x - mean).
  void (*normalise_reduce)(const T* dy, const T* y, const T* x, T* dresidual, const Column& column, const float* mean,
                           float* sum_dy, float* sum_dy_x);
  void (*normalise_backward)(const T* dy, const T* y, const T* x, T* dx, const Column& column,
                             const NormaliseBackward& args);

  // One image and channel block: element (i, j) of the image at x + (i * w + j) * stride.
  void (*max_pool)(const T* x, T* y, uint8_t* argmax, const PoolPlane& plane, int64_t stride, int lanes);
  void (*max_pool_backward)(const T* dy, const uint8_t* argmax, T* dx, const PoolPlane& plane, int64_t stride,
                            int lanes);
  void (*avg_pool)(const T* x, T* y, const PoolPlane& plane, int64_t stride, int lanes);
  void (*avg_pool_backward)(const T* dy, T* dx, const PoolPlane& plane, int64_t stride, int lanes);
  void (*fill_column)(const float* values, T* y, const Column& column);
  void (*copy_column)(const T* x, int64_t x_stride, T* y, const Column& column);

  // Flat arrays of `count` elements; outputs may be inputs.
  void (*add)(const T* a, const T* b, T* y, int64_t count);
  void (*add_relu)(const T* a, const T* b, T* y, int64_t count);
  void (*relu)(const T* x, T* y, int64_t count);
  void (*relu_backward)(const T* dy, const T* y, T* dx, int64_t count);
  void (*affine)(const T* x, float scale, float shift, T* y, int64_t count);
};

// One parameter's step by kernels/optimizer_rule.h.
struct OptimizerConstants {
  kernels::OptimizerRule rule;
  float lr = 0, grad_scale = 1, weight_decay = 0;
  float ratio = 1;                         // lars, lamb
  float correction1 = 1, correction2 = 1;  // adamw, lamb: 1 / (1 - beta1^t) and 1 / sqrt(1 - beta2^t)
};

struct Kernels {
  const char* isa;
  TypedKernels<float> f32;
  TypedKernels<kernels::bf16> bf16;
  void (*to_bf16)(const float* x, kernels::bf16* y, int64_t count);
  void (*to_f32)(const kernels::bf16* x, float* y, int64_t count);

  // Sum of (scale * x)^2.
  float (*sum_of_squares)(const float* x, float scale, int64_t count);
  // average = decay * average + (1 - decay) * value
  void (*average)(float* average, const float* value, float decay, int64_t count);
  // sgd and lars; momentum may be null.
  void (*sgd)(float* parameter, const float* grad, float* momentum, const OptimizerConstants& constants, int64_t count);
  void (*adamw)(float* parameter, const float* grad, float* momentum, float* second_moment,
                const OptimizerConstants& constants, int64_t count);
  // The two halves of a lamb step: the moments, with the sums of p^2 and u^2, and the new parameters.
  void (*lamb_moments)(const float* parameter, const float* grad, float* momentum, float* second_moment,
                       const OptimizerConstants& constants, int64_t count, float* squares);
  void (*lamb)(float* parameter, const float* momentum, const float* second_moment, const OptimizerConstants& constants,
               int64_t count);

  template <class T>
  const TypedKernels<T>& of() const;
};

template <>
inline const TypedKernels<float>& Kernels::of<float>() const {
  return f32;
}
template <>
inline const TypedKernels<kernels::bf16>& Kernels::of<kernels::bf16>() const {
  return bf16;
}

const Kernels& kernels_for_this_cpu();

}  // namespace engine::cpu
