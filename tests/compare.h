#pragma once
// The one tolerance of all numeric tests. With S = sum |a_i * b_i| over an element's m products, and unit roundoffs of
// the stored and the accumulated type,
//   |y - reference| <= 2 * eps_out * |reference| + (4 + 2 * sqrt(m)) * eps_acc * S
// plus half of the stored type's smallest number, to which subnormal results are rounded. The first term is the
// rounding of the result, the second the random walk of the sum's roundings. A test may demand equality instead; no
// test may ask for more than this.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>

#include "tests/arrays.h"

namespace engine::testing {

struct Expected {
  Array value, magnitude;  // the reference and S of each element
  int64_t terms = 1;       // m

  // Elementwise: m = 1, S = |reference|.
  static Expected elementwise(const Array& value) {
    Expected expected{value, value, 1};
    for (double& s : expected.magnitude) s = std::abs(s);
    return expected;
  }
};

inline double eps_of(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return 0x1p-8;
    case DType::f16:
      return 0x1p-11;
    default:
      return 0x1p-24;
  }
}

inline double smallest_of(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return 0x1p-133;
    case DType::f16:
      return 0x1p-24;
    default:
      return 0x1p-149;
  }
}

inline std::string position(int64_t index, const Shape& shape) {
  std::string text;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    text = std::to_string(index % shape[axis]) + (text.empty() ? "" : ",") + text;
    index /= shape[axis];
  }
  return "[" + text + "]";
}

// `indices` are the compared elements of an array of `shape`, all of them if empty.
inline ::testing::AssertionResult close_to(const Array& actual, const Expected& expected, DType dtype,
                                           const Shape& shape, const std::vector<int64_t>& indices = {}) {
  const size_t count = expected.value.size();
  if (indices.empty() ? actual.size() != count : indices.size() != count)
    return ::testing::AssertionFailure() << actual.size() << " values, expected " << count;
  double worst_ratio = 0;
  size_t worst = 0, wrong = 0;
  const auto element = [&](size_t i) { return indices.empty() ? static_cast<int64_t>(i) : indices[i]; };
  const auto bound = [&](size_t i) {
    return 2 * eps_of(dtype) * std::abs(expected.value[i]) +
           (4 + 2 * std::sqrt(static_cast<double>(expected.terms))) * 0x1p-24 * expected.magnitude[i] +
           smallest_of(dtype) / 2;
  };
  for (size_t i = 0; i < count; ++i) {
    const double error = std::abs(actual[static_cast<size_t>(element(i))] - expected.value[i]);
    const double ratio = error == 0 ? 0 : error / bound(i);
    if (!(ratio <= 1)) ++wrong;
    if (!(ratio <= worst_ratio)) {
      worst_ratio = ratio;
      worst = i;
    }
  }
  if (wrong == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << wrong << " of " << count << " differ; worst at "
                                       << position(element(worst), shape) << ": "
                                       << actual[static_cast<size_t>(element(worst))] << ", expected "
                                       << expected.value[worst] << " within " << bound(worst) << " (" << worst_ratio
                                       << " times that)";
}

inline ::testing::AssertionResult equal_to(const Array& actual, const Array& expected, const Shape& shape,
                                           const std::vector<int64_t>& indices = {}) {
  size_t wrong = 0, first = 0;
  const auto element = [&](size_t i) { return indices.empty() ? static_cast<int64_t>(i) : indices[i]; };
  for (size_t i = 0; i < expected.size(); ++i)
    if (!(actual[static_cast<size_t>(element(i))] == expected[i]) && wrong++ == 0) first = i;
  if (wrong == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << wrong << " of " << expected.size() << " differ; first at "
                                       << position(element(first), shape) << ": "
                                       << actual[static_cast<size_t>(element(first))] << ", expected "
                                       << expected[first];
}

}  // namespace engine::testing
