#pragma once
// The shapes that every convolution kernel is tested with, and their inputs.
#include <gtest/gtest.h>

#include <ostream>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "tests/kernels/guarded.h"
#include "tests/reference.h"

namespace engine::testing {

struct ConvCase {
  const char* name;
  Conv2dShape shape;
};
inline void PrintTo(const ConvCase& c, std::ostream* out) {
  *out << c.name;
}

// The kinds of layers in the models at small sizes, then what is at the edges of tiles, chunks and groups.
inline const ConvCase kConvCases[] = {
    {"stem7x7", {.n = 1, .h = 23, .w = 17, .c = 3, .k = 64, .r = 7, .s = 7, .stride = 2, .padding = 3}},
    {"stem3x3", {.n = 2, .h = 8, .w = 9, .c = 3, .k = 16, .r = 3, .s = 3, .padding = 1}},
    {"c16_3x3", {.n = 3, .h = 8, .w = 8, .c = 16, .k = 16, .r = 3, .s = 3, .padding = 1}},
    {"c64_3x3", {.n = 1, .h = 9, .w = 9, .c = 64, .k = 64, .r = 3, .s = 3, .padding = 1}},
    {"c32_48_3x3s2", {.n = 2, .h = 15, .w = 11, .c = 32, .k = 48, .r = 3, .s = 3, .stride = 2, .padding = 1}},
    {"c64_3x3s2_even", {.n = 2, .h = 8, .w = 6, .c = 64, .k = 72, .r = 3, .s = 3, .stride = 2, .padding = 1}},
    {"c64_128_1x1", {.n = 2, .h = 7, .w = 7, .c = 64, .k = 128}},
    {"c128_64_1x1", {.n = 2, .h = 7, .w = 7, .c = 128, .k = 64}},
    {"c64_96_1x1s2", {.n = 2, .h = 9, .w = 7, .c = 64, .k = 96, .stride = 2}},
    {"c64_32_1x1s2_even", {.n = 1, .h = 8, .w = 10, .c = 64, .k = 32, .stride = 2}},
    {"one_pixel", {.n = 2, .h = 1, .w = 1, .c = 64, .k = 32}},
    {"one_output", {.n = 1, .h = 7, .w = 7, .c = 8, .k = 8, .r = 7, .s = 7}},
    {"rows_127", {.n = 1, .h = 1, .w = 127, .c = 16, .k = 8}},
    {"rows_129", {.n = 3, .h = 1, .w = 43, .c = 16, .k = 40, .r = 1, .s = 3, .padding = 1}},
    {"chunks_across_taps", {.n = 1, .h = 6, .w = 7, .c = 24, .k = 40, .r = 3, .s = 3, .padding = 1}},
    {"one_chunk", {.n = 2, .h = 6, .w = 5, .c = 8, .k = 8, .r = 3, .s = 3, .padding = 1}},
    {"chunks_of_floats", {.n = 2, .h = 6, .w = 5, .c = 12, .k = 20, .r = 3, .s = 3, .padding = 1}},
    {"odd_channels", {.n = 2, .h = 7, .w = 5, .c = 5, .k = 7, .r = 3, .s = 3, .padding = 1}},
    {"odd_c", {.n = 1, .h = 9, .w = 5, .c = 35, .k = 64, .r = 3, .s = 3, .stride = 2, .padding = 1}},
    {"odd_k", {.n = 1, .h = 5, .w = 9, .c = 64, .k = 67, .r = 3, .s = 3, .padding = 1}},
    {"one_channel", {.n = 1, .h = 12, .w = 12, .c = 1, .k = 1, .r = 5, .s = 5}},
    {"tall_filter", {.n = 2, .h = 9, .w = 4, .c = 16, .k = 24, .r = 5, .s = 1, .padding = 0}},
    {"stride3_5x5", {.n = 2, .h = 13, .w = 11, .c = 16, .k = 16, .r = 5, .s = 5, .stride = 3, .padding = 2}},
    {"stride3_2x2", {.n = 1, .h = 11, .w = 9, .c = 8, .k = 16, .r = 2, .s = 2, .stride = 3}},
    {"stride4_beyond", {.n = 2, .h = 3, .w = 9, .c = 8, .k = 8, .stride = 4}},
    {"wide_padding", {.n = 1, .h = 4, .w = 5, .c = 8, .k = 16, .r = 2, .s = 2, .stride = 2, .padding = 3}},
    {"groups_2", {.n = 1, .h = 8, .w = 8, .c = 32, .k = 64, .r = 3, .s = 3, .padding = 1, .groups = 2}},
    {"groups_of_4", {.n = 1, .h = 8, .w = 7, .c = 32, .k = 32, .r = 3, .s = 3, .padding = 1, .groups = 8}},
    {"groups_of_4_s2",
     {.n = 1, .h = 9, .w = 8, .c = 16, .k = 32, .r = 3, .s = 3, .stride = 2, .padding = 1, .groups = 4}},
    {"groups_of_odd", {.n = 2, .h = 5, .w = 5, .c = 9, .k = 15, .r = 3, .s = 3, .padding = 1, .groups = 3}},
    {"depthwise", {.n = 1, .h = 6, .w = 6, .c = 8, .k = 8, .r = 3, .s = 3, .padding = 1, .groups = 8}},
};

using ConvParameters = std::tuple<ConvCase, DataType>;

inline std::string conv_test_name(const ::testing::TestParamInfo<ConvParameters>& info) {
  return std::string(std::get<0>(info.param).name) + "_" + name_of(std::get<1>(info.param));
}

// `exact`: small integers, of whose products even bf16 holds every sum.
inline Array conv_values(int64_t count, DataType type, uint64_t seed, bool exact) {
  return exact ? sparse_integers(count, seed, 4) : normal_array(count, dtype_of(type), seed);
}

struct ConvTensors {
  const Conv2dShape shape;
  const DataType type;
  const bool exact;
  const bool tf32 = false;  // of f32: values that TF32 holds, for kernels that round to it
  const int64_t x_size = shape.n * shape.h * shape.w * shape.c, y_size = shape.n * shape.p() * shape.q() * shape.k;
  const int64_t w_size = shape.k * shape.r * shape.s * (shape.c / shape.groups);
  const int64_t depth = shape.r * shape.s * (shape.c / shape.groups);

  Array x() const { return held(conv_values(x_size, type, 1, exact)); }
  Array w() const {
    Array w = conv_values(w_size, type, 2, exact);
    // Outputs of size 1: f16 keeps them away from its largest number.
    if (!exact)
      for (double& v : w) v = rounded(v / std::sqrt(static_cast<double>(depth)), dtype_of(type));
    return held(w);
  }
  Array dy() const { return held(conv_values(y_size, type, 3, exact)); }

 private:
  // f16 has TF32's 10 bits of fraction.
  Array held(Array values) const {
    if (tf32)
      for (double& v : values) v = rounded(v, DType::f16);
    return values;
  }
};

// Which elements of a large result are compared: the first, the last, and about `count` in between.
inline std::vector<int64_t> sampled(int64_t size, int64_t count) {
  std::vector<int64_t> indices = {0};
  std::minstd_rand generator(7);
  for (const int64_t step = std::max<int64_t>(1, 2 * size / count); indices.back() < size - 1;)
    indices.push_back(std::min<int64_t>(size - 1, indices.back() + 1 + static_cast<int64_t>(generator()) % step));
  return indices;
}

// at(index) -> Sum for each of `indices`.
template <class At>
Expected conv_reference(const std::vector<int64_t>& indices, int64_t terms, const At& at) {
  Expected expected{{}, {}, terms};
  for (const int64_t index : indices) {
    const Sum sum = at(index);
    expected.value.push_back(sum.value);
    expected.magnitude.push_back(sum.magnitude);
  }
  return expected;
}
template <class At>
Expected conv_reference(int64_t size, int64_t terms, const At& at) {
  std::vector<int64_t> all(static_cast<size_t>(size));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  return conv_reference(all, terms, at);
}

// The random pass: within the bound. The exact pass: equal.
inline ::testing::AssertionResult as_expected(const Array& actual, const Expected& expected, DataType type,
                                              const Shape& shape, bool exact,
                                              const std::vector<int64_t>& indices = {}) {
  return exact ? equal_to(actual, expected.value, shape, indices)
               : close_to(actual, expected, dtype_of(type), shape, indices);
}

}  // namespace engine::testing
