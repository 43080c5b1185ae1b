#include "engine/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <sstream>

namespace {

using namespace engine;
using kernels::from_float;
using kernels::to_float;

TEST(DType, NamesSizesAndKinds) {
  struct Row {
    DType dtype;
    const char* name;
    size_t size;
    bool floating;
  };
  for (const Row& row :
       {Row{DType::f32, "f32", 4, true}, Row{DType::bf16, "bf16", 2, true}, Row{DType::f16, "f16", 2, true},
        Row{DType::u8, "u8", 1, false}, Row{DType::i64, "i64", 8, false}}) {
    EXPECT_STREQ(name_of(row.dtype), row.name);
    EXPECT_EQ(size_of(row.dtype), row.size) << row.name;
    EXPECT_EQ(is_floating(row.dtype), row.floating) << row.name;
    std::ostringstream text;
    text << row.dtype;
    EXPECT_EQ(text.str(), row.name);
  }
}

TEST(DType, OfElementTypes) {
  EXPECT_EQ(dtype_of<float>, DType::f32);
  EXPECT_EQ(dtype_of<bf16>, DType::bf16);
  EXPECT_EQ(dtype_of<f16>, DType::f16);
  EXPECT_EQ(dtype_of<uint8_t>, DType::u8);
  EXPECT_EQ(dtype_of<int64_t>, DType::i64);
}

// The value of a 16-bit pattern by definition, for formats with `exponent_bits` and a fraction of the rest.
double value_by_definition(uint16_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1), fraction = bits & ((1 << fraction_bits) - 1);
  const double sign = bits >> 15 != 0 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

template <class T>
void expect_every_pattern_survives(int exponent_bits) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const T half{static_cast<uint16_t>(bits)};
    const float single = to_float(half);
    const double exact = value_by_definition(half.bits, exponent_bits);
    if (std::isnan(exact)) {
      ASSERT_TRUE(std::isnan(single)) << std::hex << bits;
      ASSERT_TRUE(std::isnan(to_float(from_float<T>(single)))) << std::hex << bits;
      continue;
    }
    ASSERT_EQ(static_cast<double>(single), exact) << std::hex << bits;
    ASSERT_EQ(std::signbit(single), bits >> 15 != 0) << std::hex << bits;
    ASSERT_EQ(from_float<T>(single).bits, bits) << std::hex << bits;
  }
}

TEST(Bf16, EveryPatternSurvivesTheWayThroughF32) {
  expect_every_pattern_survives<bf16>(8);
}
TEST(F16, EveryPatternSurvivesTheWayThroughF32) {
  expect_every_pattern_survives<f16>(5);
}

// Between two neighbours the nearer one is taken, in the middle the even one.
template <class T>
void expect_rounding_to_nearest_even(uint16_t last_finite) {
  for (uint32_t bits = 0; bits < last_finite; ++bits) {
    const T low{static_cast<uint16_t>(bits)}, high{static_cast<uint16_t>(bits + 1)};
    const double middle = (static_cast<double>(to_float(low)) + static_cast<double>(to_float(high))) / 2;
    const auto single = static_cast<float>(middle);
    const uint16_t even = (bits & 1) == 0 ? low.bits : high.bits;
    ASSERT_EQ(from_float<T>(single).bits, even) << std::hex << bits;
    ASSERT_EQ(from_float<T>(std::nextafter(single, 0.0f)).bits, low.bits) << std::hex << bits;
    ASSERT_EQ(from_float<T>(std::nextafter(single, INFINITY)).bits, high.bits) << std::hex << bits;
    ASSERT_EQ(from_float<T>(-single).bits, even | 0x8000u) << std::hex << bits;
  }
}

TEST(Bf16, RoundsToNearestEven) {
  expect_rounding_to_nearest_even<bf16>(0x7f7f);
}
TEST(F16, RoundsToNearestEven) {
  expect_rounding_to_nearest_even<f16>(0x7bff);
}

TEST(F16, OverflowsToInfinity) {
  EXPECT_EQ(from_float<f16>(65519.996f).bits, 0x7bff);
  EXPECT_EQ(from_float<f16>(65520.0f).bits, 0x7c00);
  EXPECT_EQ(from_float<f16>(-INFINITY).bits, 0xfc00);
}

TEST(Bf16, OverflowsToInfinity) {
  EXPECT_EQ(from_float<bf16>(std::numeric_limits<float>::max()).bits, 0x7f80);
}

}  // namespace
