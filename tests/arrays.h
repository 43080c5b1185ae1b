#pragma once
// Arrays of doubles for references, and tensors made of them. Values are rounded to the tested type before anything is
// computed, so that a test judges arithmetic and not the rounding of its inputs.
#include <array>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/storage.h"
#include "engine/tensor.h"
#include "tests/device.h"

namespace engine::testing {

using Array = std::vector<double>;

inline double rounded(double value, DType dtype) {
  const auto single = static_cast<float>(value);
  if (dtype == DType::bf16) return kernels::to_float(kernels::from_float<bf16>(single));
  if (dtype == DType::f16) return kernels::to_float(kernels::from_float<f16>(single));
  return single;
}

inline Array rounded(Array values, DType dtype) {
  for (double& v : values) v = rounded(v, dtype);
  return values;
}

// Normally distributed. Only the first few thousand are drawn, then they come again: their number is a prime, so that
// no two rows of an image or filter are the same.
inline Array normal_array(int64_t count, DType dtype, uint64_t seed, double mean = 0, double deviation = 1) {
  constexpr size_t kDrawn = 4093;
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal(mean, deviation);
  Array values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = i < kDrawn ? rounded(normal(generator), dtype) : values[i - kDrawn];
  return values;
}

// Mostly zeros, some ones, minus ones and twos: sums of many products stay exact even in bf16.
inline Array sparse_integers(int64_t count, uint64_t seed, int64_t nonzero_every) {
  std::minstd_rand generator(static_cast<uint32_t>(seed));
  Array values(static_cast<size_t>(count));
  for (double& v : values) {
    if (generator() % static_cast<uint64_t>(nonzero_every) != 0) continue;
    v = std::array{1.0, -1.0, 2.0}[generator() % 3];
  }
  return values;
}

inline Tensor tensor_of(const Array& values, const Shape& shape, DType dtype = DType::f32,
                        Layout layout = Layout::nhwc) {
  const std::vector<float> singles(values.begin(), values.end());
  return in_layout(Tensor::from(singles, shape, test_device()).to(dtype), test_layout(layout));
}

// Not initialised, on the tested device.
inline Tensor empty_tensor(const Shape& shape, DType dtype = DType::f32, Layout layout = Layout::nhwc) {
  return make_tensor(shape, dtype, test_device(), test_layout(layout));
}
inline Tensor full_tensor(const Shape& shape, double value, DType dtype = DType::f32) {
  return Tensor::full(shape, value, {dtype, test_device()});
}

inline Array array_of(const Tensor& x) {
  const std::vector<float> singles = in_layout(x, Layout::nhwc).to(DType::f32).to_vector<float>();
  return {singles.begin(), singles.end()};
}

}  // namespace engine::testing
