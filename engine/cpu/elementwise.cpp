// Elementwise operations. What a training step does often has a kernel; the rest is a loop per element type.
#include <array>
#include <cmath>
#include <vector>

#include "engine/cpu/allocator.h"
#include "engine/cpu/backend.h"
#include "engine/cpu/simd/kernels.h"
#include "engine/cpu/threads.h"
#include "engine/cpu/view.h"

namespace engine::cpu {
namespace {

constexpr int64_t kUnit = 1024;  // elements; parts of threads begin at multiples of whole vectors and cache lines

// body(begin, count) on parts of [0, numel).
template <class Body>
void for_each_part(const Tensor& y, const Body& body) {
  const int64_t count = y.numel();
  parallel_for((count + kUnit - 1) / kUnit,
               [&](int64_t begin, int64_t end) { body(begin * kUnit, std::min(end * kUnit, count) - begin * kUnit); },
               static_cast<int64_t>(y.bytes()) > kSerialBytes);
}

template <class Body>
void dispatch_float(const char* op, DType dtype, const Body& body) {
  if (dtype == DType::f16) return body(f16{});
  dispatch(op, dtype, body);
}

// y[i] = f(a[i], b[i or 0])
template <class F>
void map(const char* op, const Tensor& a, const Tensor& b, const Tensor& y, const F& f) {
  const int64_t step = b.numel() == 1 && a.numel() != 1 ? 0 : 1;
  dispatch_float(op, y.dtype(), [&](auto type) {
    using T = decltype(type);
    const T *left = a.raw<T>(), *right = b.raw<T>();
    T* out = y.raw<T>();
    for_each_part(y, [&](int64_t begin, int64_t count) {
      for (int64_t i = begin; i < begin + count; ++i)
        out[i] = kernels::from_float<T>(f(kernels::to_float(left[i]), kernels::to_float(right[i * step])));
    });
  });
}

template <class Call>
void with_kernels(const Tensor& y, const Call& call) {
  dispatch("elementwise", y.dtype(), [&](auto type) {
    using T = decltype(type);
    for_each_part(y, [&](int64_t begin, int64_t count) { call(T{}, kernels_for_this_cpu().of<T>(), begin, count); });
  });
}

}  // namespace

void CpuBackend::fill(const Tensor& y, double value) {
  const auto write = [&](auto stored) {
    using T = decltype(stored);
    for_each_part(y, [&](int64_t begin, int64_t count) { std::fill_n(y.raw<T>() + begin, count, stored); });
  };
  switch (y.dtype()) {
    case DType::f32:
      return write(static_cast<float>(value));
    case DType::bf16:
      return write(kernels::from_float<bf16>(static_cast<float>(value)));
    case DType::f16:
      return write(kernels::from_float<f16>(static_cast<float>(value)));
    case DType::u8:
      return write(static_cast<uint8_t>(value));
    case DType::i64:
      return write(static_cast<int64_t>(value));
  }
}

void CpuBackend::unary(UnaryOp op, const Tensor& x, const Tensor& y) {
  switch (op) {
    case UnaryOp::relu:
      if (x.dtype() == DType::f16) return map("relu", x, x, y, [](float v, float) { return v < 0 ? 0.0f : v; });
      return with_kernels(y, [&](auto type, const auto& kernel, int64_t begin, int64_t count) {
        using T = decltype(type);
        kernel.relu(x.raw<T>() + begin, y.raw<T>() + begin, count);
      });
    case UnaryOp::sigmoid:
      return map("sigmoid", x, x, y, [](float v, float) { return 1.0f / (1.0f + std::exp(-v)); });
    case UnaryOp::exp:
      return map("exp", x, x, y, [](float v, float) { return std::exp(v); });
    case UnaryOp::log:
      return map("log", x, x, y, [](float v, float) { return std::log(v); });
    case UnaryOp::negate:
      return map("negate", x, x, y, [](float v, float) { return -v; });
  }
}

void CpuBackend::binary(BinaryOp op, const Tensor& a, const Tensor& b, const Tensor& y) {
  switch (op) {
    case BinaryOp::add:
      if (a.dtype() == DType::f16 || b.numel() != a.numel())
        return map("add", a, b, y, [](float u, float v) { return u + v; });
      return with_kernels(y, [&](auto type, const auto& kernel, int64_t begin, int64_t count) {
        using T = decltype(type);
        kernel.add(a.raw<T>() + begin, b.raw<T>() + begin, y.raw<T>() + begin, count);
      });
    case BinaryOp::subtract:
      return map("subtract", a, b, y, [](float u, float v) { return u - v; });
    case BinaryOp::multiply:
      return map("multiply", a, b, y, [](float u, float v) { return u * v; });
    case BinaryOp::divide:
      return map("divide", a, b, y, [](float u, float v) { return u / v; });
  }
}

void CpuBackend::affine(const Tensor& x, float scale, float shift, const Tensor& y) {
  if (x.dtype() == DType::f16) return map("affine", x, x, y, [=](float v, float) { return v * scale + shift; });
  with_kernels(y, [&](auto type, const auto& kernel, int64_t begin, int64_t count) {
    using T = decltype(type);
    kernel.affine(x.raw<T>() + begin, scale, shift, y.raw<T>() + begin, count);
  });
}

void CpuBackend::add_relu(const Tensor& a, const Tensor& b, const Tensor& y) {
  with_kernels(y, [&](auto type, const auto& kernel, int64_t begin, int64_t count) {
    using T = decltype(type);
    kernel.add_relu(a.raw<T>() + begin, b.raw<T>() + begin, y.raw<T>() + begin, count);
  });
}

void CpuBackend::relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) {
  with_kernels(dx, [&](auto type, const auto& kernel, int64_t begin, int64_t count) {
    using T = decltype(type);
    kernel.relu_backward(dy.raw<T>() + begin, y.raw<T>() + begin, dx.raw<T>() + begin, count);
  });
}

// Sums of pieces whose length is fixed, then the sum of those: the order does not depend on the threads.
void CpuBackend::sum(const Tensor& x, const Tensor& y) {
  constexpr int64_t kPiece = 4096;
  const int64_t count = x.numel(), pieces = (count + kPiece - 1) / kPiece;
  const Buffer sums(static_cast<size_t>(pieces) * sizeof(double));
  dispatch_float("sum", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* values = x.raw<T>();
    parallel_for(
        pieces,
        [&](int64_t begin, int64_t end) {
          for (int64_t piece = begin; piece < end; ++piece) {
            double sum = 0;
            for (int64_t i = piece * kPiece; i < std::min((piece + 1) * kPiece, count); ++i)
              sum += kernels::to_float(values[i]);
            sums.as<double>()[piece] = sum;
          }
        },
        static_cast<int64_t>(x.bytes()) > kSerialBytes);
  });
  double total = 0;
  for (int64_t piece = 0; piece < pieces; ++piece) total += sums.as<double>()[piece];
  *y.raw<float>() = static_cast<float>(total);
}

}  // namespace engine::cpu
