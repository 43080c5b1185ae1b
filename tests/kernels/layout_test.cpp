// Filling, converting, transposing and the shortcut without parameters.
#include "kernels/layout.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "tests/kernels/guarded.h"

namespace engine::testing {
namespace {

using namespace kernels;

constexpr ElementType kElementTypes[] = {ElementType::f32, ElementType::bf16, ElementType::f16, ElementType::u8,
                                         ElementType::i64};

std::string element_name(ElementType type) {
  const char* const names[] = {"f32", "bf16", "f16", "u8", "i64"};
  return names[static_cast<int>(type)];
}

// One element as the host stores it, by the rules that kernels/layout.h states.
template <class To>
std::string bytes_of(To value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

std::string encoded(ElementType type, float value) {
  switch (type) {
    case ElementType::f32:
      return bytes_of(value);
    case ElementType::bf16:
      return bytes_of(from_float<bf16>(value));
    case ElementType::f16:
      return bytes_of(from_float<f16>(value));
    case ElementType::u8:
      return bytes_of(static_cast<uint8_t>(std::isnan(value) ? 0 : std::min(std::max(value, 0.0f), 255.0f)));
    case ElementType::i64:
      if (std::isnan(value)) return bytes_of(int64_t{0});
      if (value >= 0x1p63f) return bytes_of(std::numeric_limits<int64_t>::max());
      if (value < -0x1p63f) return bytes_of(std::numeric_limits<int64_t>::min());
      return bytes_of(static_cast<int64_t>(value));
  }
  return {};
}

std::string encoded(ElementType type, int64_t value) {
  if (type == ElementType::i64) return bytes_of(value);
  if (type == ElementType::u8)
    return bytes_of(static_cast<uint8_t>(std::min(std::max(value, int64_t{0}), int64_t{255})));
  return encoded(type, static_cast<float>(value));
}

// Source values that strain every rule; floats are rounded to the source type first.
std::vector<std::string> sources(ElementType type, std::vector<std::string>& expected, ElementType to, size_t count) {
  const float floats[] = {0,      -0.0f, 1.5f,   -1.5f,   255,      256,        254.996f,  3.99f,
                          -3.99f, 1e-8f, 1e30f,  -1e30f,  NAN,      INFINITY,   -INFINITY, 65504,
                          65520,  0.1f,  1e-41f, 0x1p63f, -0x1p63f, 1.0039062f, 1.0117188f};
  const int64_t integers[] = {0,
                              1,
                              -1,
                              255,
                              256,
                              -300,
                              65535,
                              16777217,
                              1LL << 40,
                              std::numeric_limits<int64_t>::max(),
                              std::numeric_limits<int64_t>::min()};
  std::vector<std::string> values;
  for (size_t i = 0; i < count; ++i) {
    if (type == ElementType::u8) {
      const auto value = static_cast<uint8_t>(i * 37);
      values.push_back(bytes_of(value));
      expected.push_back(encoded(to, int64_t{value}));
    } else if (type == ElementType::i64) {
      const int64_t value = integers[i % std::size(integers)];
      values.push_back(bytes_of(value));
      expected.push_back(encoded(to, value));
    } else {
      values.push_back(encoded(type, floats[i % std::size(floats)]));
      float value = 0;
      if (type == ElementType::f32) std::memcpy(&value, values.back().data(), 4);
      uint16_t bits = 0;
      if (type != ElementType::f32) std::memcpy(&bits, values.back().data(), 2);
      if (type == ElementType::bf16) value = to_float(bf16{bits});
      if (type == ElementType::f16) value = to_float(f16{bits});
      expected.push_back(type == to ? values.back() : encoded(to, value));
    }
  }
  return values;
}

// `ahead` elements lie in front, to misalign.
DeviceBytes on_device(const std::vector<std::string>& elements, size_t ahead) {
  std::string all(ahead * elements.front().size(), '\0');
  for (const std::string& element : elements) all += element;
  return {all.data(), all.size()};
}

class ConvertTest : public ::testing::TestWithParam<std::tuple<ElementType, ElementType>> {};

bool same_number(ElementType type, const std::string& a, const std::string& b) {
  if (a == b) return true;
  float x = 0, y = 0;  // NaNs have many representations
  if (type == ElementType::f32) std::memcpy(&x, a.data(), 4), std::memcpy(&y, b.data(), 4);
  if (type == ElementType::bf16 || type == ElementType::f16) {
    uint16_t u = 0, v = 0;
    std::memcpy(&u, a.data(), 2), std::memcpy(&v, b.data(), 2);
    x = type == ElementType::bf16 ? to_float(bf16{u}) : to_float(f16{u});
    y = type == ElementType::bf16 ? to_float(bf16{v}) : to_float(f16{v});
  }
  return std::isnan(x) && std::isnan(y);
}

TEST_P(ConvertTest, FollowsTheRules) {
  const auto [from, to] = GetParam();
  const auto x_size = static_cast<size_t>(size_of(from)), y_size = static_cast<size_t>(size_of(to));
  for (const size_t count : {size_t{1}, size_t{67}, size_t{2500}})
    for (const size_t ahead : {size_t{0}, size_t{1}}) {
      std::vector<std::string> expected;
      const DeviceBytes x = on_device(sources(from, expected, to, count), ahead);
      const DeviceBytes y((count + ahead + 1) * y_size);
      ASSERT_TRUE(convert({.x = static_cast<char*>(x.data()) + ahead * x_size,
                           .x_type = from,
                           .y = static_cast<char*>(y.data()) + ahead * y_size,
                           .y_type = to,
                           .count = static_cast<int64_t>(count)},
                          nullptr));
      std::string result(y.size(), '\0');
      y.copy_to(result.data());
      for (size_t i = 0; i < count; ++i)
        ASSERT_TRUE(same_number(to, result.substr((ahead + i) * y_size, y_size), expected[i]))
            << "element " << i << " of " << count;
      EXPECT_EQ(result.substr((ahead + count) * y_size), std::string(y_size, '\xff')) << "written behind the end";
    }
}

INSTANTIATE_TEST_SUITE_P(Types, ConvertTest,
                         ::testing::Combine(::testing::ValuesIn(kElementTypes), ::testing::ValuesIn(kElementTypes)),
                         [](const auto& instance) {
                           return element_name(std::get<0>(instance.param)) + "_to_" +
                                  element_name(std::get<1>(instance.param));
                         });

TEST(Convert, WorksInPlace) {
  const DeviceBuffer<bf16> x(std::vector<bf16>{from_float<bf16>(1.5f), from_float<bf16>(-3)});
  ASSERT_TRUE(convert(
      {.x = x.data(), .x_type = ElementType::bf16, .y = x.data(), .y_type = ElementType::f16, .count = 2}, nullptr));
  EXPECT_EQ(x.values()[0].bits, from_float<f16>(1.5f).bits);
  EXPECT_EQ(x.values()[1].bits, from_float<f16>(-3).bits);
}

TEST(Convert, RefusesToGrowInPlace) {
  const DeviceBuffer<float> x(4);
  EXPECT_FALSE(convert(
      {.x = x.data(), .x_type = ElementType::bf16, .y = x.data(), .y_type = ElementType::f32, .count = 4}, nullptr));
  EXPECT_FALSE(convert({.x_type = ElementType::bf16, .y = x.data(), .count = 4}, nullptr));
  EXPECT_FALSE(convert({.x = x.data(), .x_type = static_cast<ElementType>(9), .y = x.data() + 2, .count = 1}, nullptr));
  EXPECT_TRUE(convert({.count = 0}, nullptr));
}

class FillTest : public ::testing::TestWithParam<ElementType> {};

TEST_P(FillTest, WritesTheValueAndNothingElse) {
  const auto size = static_cast<size_t>(size_of(GetParam()));
  for (const size_t count : {size_t{1}, size_t{3}, size_t{16}, size_t{100}, size_t{5001}})
    for (const size_t ahead : {size_t{0}, size_t{1}, size_t{5}}) {
      const DeviceBytes y((ahead + count + 1) * size);
      ASSERT_TRUE(fill({.y = static_cast<char*>(y.data()) + ahead * size,
                        .type = GetParam(),
                        .count = static_cast<int64_t>(count),
                        .value = 3.5},
                       nullptr));
      std::string result(y.size(), '\0'), expected(ahead * size, '\xff');
      y.copy_to(result.data());
      for (size_t i = 0; i < count; ++i) expected += encoded(GetParam(), 3.5f);
      EXPECT_EQ(result, expected + std::string(size, '\xff')) << count << " elements behind " << ahead;
    }
}

INSTANTIATE_TEST_SUITE_P(Types, FillTest, ::testing::ValuesIn(kElementTypes),
                         [](const auto& instance) { return element_name(instance.param); });

TEST(Fill, TakesNegativeIntegers) {
  const DeviceBuffer<int64_t> y(3);
  ASSERT_TRUE(fill({.y = y.data(), .type = ElementType::i64, .count = 3, .value = -7.9}, nullptr));
  EXPECT_EQ(y.values(), (std::vector<int64_t>{-7, -7, -7}));
}

class TransposeTest : public ::testing::TestWithParam<int64_t> {};

TEST_P(TransposeTest, SwapsRowsAndColumns) {
  const int64_t size = GetParam();
  struct Case {
    int64_t batch, rows, columns;
  };
  for (const Case& c : {Case{1, 1, 1}, Case{3, 64, 32}, Case{2, 3, 49}, Case{2, 33, 65}, Case{1, 200, 7}}) {
    std::vector<uint8_t> x(static_cast<size_t>(c.batch * c.rows * c.columns * size));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i * 131 % 251);
    std::vector<uint8_t> expected(x.size()), result(x.size());
    for (int64_t b = 0; b < c.batch; ++b)
      for (int64_t row = 0; row < c.rows; ++row)
        for (int64_t column = 0; column < c.columns; ++column)
          std::memcpy(&expected[static_cast<size_t>(((b * c.columns + column) * c.rows + row) * size)],
                      &x[static_cast<size_t>(((b * c.rows + row) * c.columns + column) * size)],
                      static_cast<size_t>(size));
    const DeviceBytes from(x.data(), x.size()), to(x.size());
    ASSERT_TRUE(transpose({.x = from.data(),
                           .y = to.data(),
                           .element_bytes = size,
                           .batch = c.batch,
                           .rows = c.rows,
                           .columns = c.columns},
                          nullptr));
    to.copy_to(result.data());
    EXPECT_EQ(result, expected) << c.batch << "x" << c.rows << "x" << c.columns;
  }
}

INSTANTIATE_TEST_SUITE_P(Bytes, TransposeTest, ::testing::Values(1, 2, 4, 8),
                         [](const auto& instance) { return std::to_string(instance.param); });

TEST(Transpose, RefusesOtherSizes) {
  const DeviceBuffer<float> x(4), y(4);
  EXPECT_FALSE(
      transpose({.x = x.data(), .y = y.data(), .element_bytes = 3, .batch = 1, .rows = 2, .columns = 2}, nullptr));
  EXPECT_TRUE(transpose({.x = x.data(), .y = y.data(), .batch = 1, .rows = 0, .columns = 2}, nullptr));
}

using SubsampleParameters = std::tuple<DataType, SubsampleShape, int64_t>;

class SubsampleTest : public ::testing::TestWithParam<SubsampleParameters> {};

TEST_P(SubsampleTest, ForwardAndBackward) {
  const auto& [type, s, offset] = GetParam();
  const DType dtype = dtype_of(type);
  const int64_t big = s.n * s.h * s.w * s.c, small = s.n * s.p() * s.q() * s.k;
  const Array x = normal_array(big, dtype, 1), dy = normal_array(small, dtype, 2);
  Array y(static_cast<size_t>(small)), dx(static_cast<size_t>(big));
  for (int64_t i = 0; i < small; ++i) {
    const int64_t c = i % s.k - s.before, q = i / s.k % s.q(), p = i / (s.k * s.q()) % s.p();
    const int64_t n = i / (s.k * s.q() * s.p());
    if (c < 0 || c >= s.c) continue;
    const auto from = static_cast<size_t>(((n * s.h + p * s.stride) * s.w + q * s.stride) * s.c + c);
    y[static_cast<size_t>(i)] = x[from];
    dx[from] = dy[static_cast<size_t>(i)];
  }
  const Guarded on_x(type, x, offset), on_dy(type, dy, offset), to_y(type, small, offset), to_dx(type, big, offset);
  ASSERT_TRUE(subsample_pad({.shape = s, .type = type, .x = on_x.data(), .y = to_y.data()}, nullptr));
  EXPECT_TRUE(equal_to(to_y.values(), y, {s.n, s.p(), s.q(), s.k}));
  ASSERT_TRUE(subsample_pad_backward({.shape = s, .type = type, .dy = on_dy.data(), .dx = to_dx.data()}, nullptr));
  EXPECT_TRUE(equal_to(to_dx.values(), dx, {s.n, s.h, s.w, s.c}));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, SubsampleTest,
    ::testing::Combine(::testing::ValuesIn(kDataTypes),
                       ::testing::Values(SubsampleShape{2, 8, 8, 16, 32, 2, 8}, SubsampleShape{1, 7, 5, 16, 64, 2, 24},
                                         SubsampleShape{2, 5, 6, 3, 10, 3, 4}, SubsampleShape{1, 4, 4, 8, 8, 1, 0}),
                       ::testing::Values(0, 1)),
    [](const auto& instance) {
      const SubsampleShape& s = std::get<1>(instance.param);
      return name_of(std::get<0>(instance.param)) + "_" + std::to_string(s.c) + "_to_" + std::to_string(s.k) + "_by_" +
             std::to_string(s.stride) + (std::get<2>(instance.param) ? "_misaligned" : "");
    });

TEST(Subsample, RefusesChannelsThatDoNotFit) {
  const DeviceBuffer<float> x(16), y(16);
  EXPECT_FALSE(subsample_pad({.shape = {1, 1, 1, 8, 8, 1, 1}, .x = x.data(), .y = y.data()}, nullptr));
  EXPECT_FALSE(subsample_pad_backward({.shape = {1, 1, 1, 8, 8, 0, 0}, .dy = x.data(), .dx = y.data()}, nullptr));
}

// More work than the largest grid has threads, or blocks.
TEST(Layout, WalksLargeArrays) {
  const auto count = static_cast<size_t>(kMostThreads) + 1000;
  const DeviceBuffer<uint8_t> bytes(16 * count);
  ASSERT_TRUE(fill({.y = bytes.data(), .type = ElementType::u8, .count = static_cast<int64_t>(16 * count), .value = 9},
                   nullptr));
  EXPECT_EQ(bytes.values(), std::vector<uint8_t>(16 * count, 9));

  std::vector<uint8_t> x(count + 1), halves(4100 * 6), transposed(halves.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i % 251);
  std::vector<int64_t> expected(x.begin() + 1, x.end());
  const DeviceBuffer<uint8_t> from(x);
  const DeviceBuffer<int64_t> to(count);
  ASSERT_TRUE(convert({.x = from.data() + 1,
                       .x_type = ElementType::u8,
                       .y = to.data(),
                       .y_type = ElementType::i64,
                       .count = static_cast<int64_t>(count)},
                      nullptr));
  EXPECT_EQ(to.values(), expected);

  const DeviceBuffer<uint8_t> tiles_to(halves.size());
  for (size_t i = 0; i < halves.size(); ++i) {
    halves[i] = static_cast<uint8_t>(i * 7 % 251);
    transposed[i / 6 * 6 + i % 3 * 2 + i % 6 / 3] = halves[i];
  }
  const DeviceBuffer<uint8_t> tiles_from(halves);
  ASSERT_TRUE(transpose(
      {.x = tiles_from.data(), .y = tiles_to.data(), .element_bytes = 1, .batch = 4100, .rows = 2, .columns = 3},
      nullptr));
  EXPECT_EQ(tiles_to.values(), transposed);
}

TEST(Layout, WalksLargeImages) {
  const SubsampleShape s = {.n = 1100, .h = 16, .w = 16, .c = 4, .k = 20, .stride = 2, .before = 7};
  const int64_t big = s.n * s.h * s.w * s.c, small = s.n * s.p() * s.q() * s.k;
  ASSERT_GT(std::min(big, small), kMostThreads);
  const Array x = sparse_integers(big, 1, 2);
  const Guarded on_x(DataType::bf16, x, 1), y(DataType::bf16, small, 1), back(DataType::bf16, big, 1);
  ASSERT_TRUE(subsample_pad({.shape = s, .type = DataType::bf16, .x = on_x.data(), .y = y.data()}, nullptr));
  ASSERT_TRUE(subsample_pad_backward({.shape = s, .type = DataType::bf16, .dy = y.data(), .dx = back.data()}, nullptr));
  // There and back again, only the sampled pixels are left.
  Array expected(x);
  for (size_t i = 0; i < expected.size(); ++i)
    if (i / 4 % 2 != 0 || i / 64 % 2 != 0) expected[i] = 0;
  EXPECT_TRUE(equal_to(back.values(), expected, {s.n, s.h, s.w, s.c}));
}

TEST(Layout, CountsItsCost) {
  EXPECT_EQ(convert_cost({.x_type = ElementType::f32, .y_type = ElementType::bf16, .count = 10}).bytes, 60);
  EXPECT_EQ(fill_cost({.type = ElementType::i64, .count = 3}).bytes, 24);
  EXPECT_EQ(transpose_cost({.element_bytes = 2, .batch = 2, .rows = 3, .columns = 5}).bytes, 120);
  EXPECT_EQ(subsample_pad_cost({.shape = {1, 4, 4, 2, 4, 2, 1}}).bytes, 4 * (4 * 4 + 4 * 2));
  EXPECT_EQ(subsample_pad_backward_cost({.shape = {1, 4, 4, 2, 4, 2, 1}}).bytes, 4 * (16 * 2 + 4 * 2));
}

}  // namespace
}  // namespace engine::testing
