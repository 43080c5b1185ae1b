#include "engine/shape.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "tests/engine/error_text.h"

namespace {

using engine::Shape;
using engine::testing::error_text;

TEST(Shape, CountsElements) {
  EXPECT_EQ((Shape{2, 3, 4}).numel(), 24);
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_EQ((Shape{5, 0, 7}).numel(), 0);
}

TEST(Shape, ComparesRankAndExtents) {
  EXPECT_EQ((Shape{2, 3}), Shape(std::vector<int64_t>{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2}), (Shape{2, 1}));
  EXPECT_NE(Shape{}, (Shape{0}));
}

TEST(Shape, Prints) {
  EXPECT_EQ(to_string(Shape{8, 56, 56, 64}), "[8,56,56,64]");
  EXPECT_EQ(to_string(Shape{}), "[]");
}

TEST(Shape, RefusesMoreThanSixExtents) {
  EXPECT_EQ(error_text([] { Shape{1, 2, 3, 4, 5, 6, 7}; }), "Shape: 7 extents given, expected at most 6");
}

TEST(Shape, RefusesNegativeExtents) {
  EXPECT_EQ(error_text([] { Shape{2, -1}; }), "Shape: an extent is -1, expected 0 or more");
}

TEST(Shape, RefusesMoreElementsThanFitACount) {
  const int64_t large = int64_t{1} << 32;
  EXPECT_EQ(error_text([&] { Shape{large, large}; }), "Shape: the number of elements exceeds 2^63");
  EXPECT_EQ((Shape{std::numeric_limits<int64_t>::max()}).numel(), std::numeric_limits<int64_t>::max());
}

}  // namespace
