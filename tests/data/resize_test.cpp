#include "engine/data/resize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "engine/data/resize_kernels.h"
#include "engine/error.h"
#include "engine/random.h"
#include "tests/data/goldens.h"

namespace engine {
namespace {

using Bytes = std::vector<uint8_t>;

Interpolation interpolation(const std::string& name) {
  return name == "bicubic" ? Interpolation::bicubic : Interpolation::bilinear;
}

TEST(Resize, EqualsPillow) {
  const auto rows = golden_rows("resize.tsv");
  ASSERT_EQ(rows.size(), 34u);
  for (const auto& row : rows) {
    SCOPED_TRACE(testing::PrintToString(row));
    const Image source = pattern(std::stoi(row[0]), std::stoi(row[1]));
    const Image result =
        resize(source, {.width = std::stoi(row[2]),
                        .height = std::stoi(row[3]),
                        .interpolation = interpolation(row[4]),
                        .box = Box{std::stof(row[5]), std::stof(row[6]), std::stof(row[7]), std::stof(row[8])}});
    EXPECT_EQ(hash(result.pixels), row[9]);
  }
}

// The part of `image` in `region`, mirrored or not, pixel by pixel.
Bytes cut(const Image& image, const Region& region, bool flip) {
  Bytes pixels;
  for (int y = region.y; y < region.y + region.height; ++y)
    for (int i = 0; i < region.width; ++i) {
      const int x = flip ? region.x + region.width - 1 - i : region.x + i;
      const auto at = image.pixels.begin() + ptrdiff_t{3} * (ptrdiff_t{y} * image.width + x);
      pixels.insert(pixels.end(), at, at + 3);
    }
  return pixels;
}

struct Sizes {
  int source_width, source_height, width, height;
};

class ResizeSizes : public testing::TestWithParam<Sizes> {};

TEST_P(ResizeSizes, PartAndFlipAreCutFromTheWhole) {
  const Sizes s = GetParam();
  const Image source = pattern(s.source_width, s.source_height);
  for (const auto method : {Interpolation::bilinear, Interpolation::bicubic}) {
    const Image whole = resize(source, {.width = s.width, .height = s.height, .interpolation = method});
    const Region part = {s.width / 3, s.height / 4, (s.width + 1) / 2, (s.height + 1) / 2};
    for (const bool flip : {false, true}) {
      const Image result =
          resize(source, {.width = s.width, .height = s.height, .interpolation = method, .part = part, .flip = flip});
      EXPECT_EQ(result.pixels, cut(whole, part, flip));
    }
  }
}

TEST_P(ResizeSizes, AViewIsAsGoodAsACopy) {
  const Sizes s = GetParam();
  const Image source = pattern(s.source_width + 7, s.source_height + 5);
  const Region region = {4, 3, s.source_width, s.source_height};
  const Image copy = {region.width, region.height, cut(source, region, false)};
  const ResizeOptions options = {.width = s.width, .height = s.height};
  EXPECT_EQ(resize(ImageView(source).crop(region), options).pixels, resize(copy, options).pixels);
}

INSTANTIATE_TEST_SUITE_P(All, ResizeSizes,
                         testing::Values(Sizes{50, 40, 20, 30}, Sizes{20, 30, 50, 40}, Sizes{200, 310, 64, 64},
                                         Sizes{90, 400, 80, 40}, Sizes{1, 1, 3, 3}, Sizes{1, 50, 9, 2},
                                         Sizes{50, 1, 2, 9}, Sizes{33, 33, 33, 33}),
                         [](const auto& tested) {
                           const Sizes s = tested.param;
                           return std::to_string(s.source_width) + "x" + std::to_string(s.source_height) + "to" +
                                  std::to_string(s.width) + "x" + std::to_string(s.height);
                         });

// Weights of any sign whose sum is one, from 1 to `longest` of them.
Taps random_taps(int outputs, int source_size, int longest, RandomStream& random) {
  Taps taps;
  taps.stride = longest;
  for (int i = 0; i < outputs; ++i) {
    const int count = 1 + static_cast<int>(random.below(static_cast<uint32_t>(std::min(longest, source_size))));
    taps.count.push_back(count);
    taps.first.push_back(static_cast<int>(random.below(static_cast<uint32_t>(source_size - count + 1))));
    int32_t left = 1 << kWeightBits;
    for (int t = 0; t < longest; ++t) {
      int32_t weight = static_cast<int32_t>(random.below(1u << (kWeightBits - 2))) - (1 << (kWeightBits - 4));
      weight = t + 1 < count ? weight / count : t + 1 == count ? left : 0;
      taps.weight.push_back(weight);
      left -= weight;
    }
  }
  return taps;
}

class ResizeIsas : public testing::TestWithParam<ResizeIsa> {
 protected:
  const ResizeKernels* kernels() const { return resize_kernels(GetParam()); }
};

TEST_P(ResizeIsas, HorizontalPassEqualsTheScalarOne) {
  if (kernels() == nullptr) GTEST_SKIP() << "this processor lacks the instructions";
  RandomStream random(1, 2, 3, purpose::kAugmentation);
  for (int round = 0; round < 200; ++round) {
    const int width = 1 + static_cast<int>(random.below(90)), height = 1 + static_cast<int>(random.below(5));
    const int outputs = 1 + static_cast<int>(random.below(40));
    const Taps taps = random_taps(outputs, width, 1 + static_cast<int>(random.below(19)), random);
    Bytes source(static_cast<size_t>(3 * width * height));
    for (uint8_t& byte : source) byte = static_cast<uint8_t>(random.next_u32());
    Bytes expected(static_cast<size_t>(3 * outputs * height)), result(expected.size());
    const Rows<const uint8_t> in = {source.data(), 3 * width, height, 3 * width};
    resize_kernels(ResizeIsa::scalar)->horizontal(in, taps, {expected.data(), 3 * outputs, height, 3 * outputs});
    kernels()->horizontal(in, taps, {result.data(), 3 * outputs, height, 3 * outputs});
    ASSERT_EQ(result, expected) << width << "x" << height << " to " << outputs;
  }
}

TEST_P(ResizeIsas, VerticalPassEqualsTheScalarOne) {
  if (kernels() == nullptr) GTEST_SKIP() << "this processor lacks the instructions";
  RandomStream random(4, 5, 6, purpose::kAugmentation);
  for (int round = 0; round < 200; ++round) {
    const int bytes = 1 + static_cast<int>(random.below(200)), height = 1 + static_cast<int>(random.below(40));
    const int outputs = 1 + static_cast<int>(random.below(9));
    const Taps taps = random_taps(outputs, height, 1 + static_cast<int>(random.below(19)), random);
    Bytes source(static_cast<size_t>(bytes * height));
    for (uint8_t& byte : source) byte = static_cast<uint8_t>(random.next_u32());
    Bytes expected(static_cast<size_t>(bytes * outputs)), result(expected.size());
    const Rows<const uint8_t> in = {source.data(), bytes, height, bytes};
    resize_kernels(ResizeIsa::scalar)->vertical(in, taps, {expected.data(), bytes, outputs, bytes});
    kernels()->vertical(in, taps, {result.data(), bytes, outputs, bytes});
    ASSERT_EQ(result, expected) << bytes << " bytes, " << height << " to " << outputs;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ResizeIsas, testing::Values(ResizeIsa::avx2, ResizeIsa::avx512),
                         [](const auto& tested) { return tested.param == ResizeIsa::avx2 ? "avx2" : "avx512"; });

std::string error_of(const ImageView& source, const ResizeOptions& options, size_t bytes) {
  Bytes result(bytes);
  try {
    resize(source, options, result);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "resized";
}

TEST(ResizeErrors, SizeOfZero) {
  EXPECT_EQ(error_of(pattern(4, 4), {.width = 0, .height = 3}, 0),
            "resize: 4x4 to 0x3, expected sizes of at least 1x1");
}

TEST(ResizeErrors, BoxOutsideTheSource) {
  EXPECT_EQ(error_of(pattern(4, 4), {.width = 1, .height = 1, .box = Box{0, 0, 4.5f, 4}}, 3),
            "resize: box (0, 0, 4.5, 4) must be a rectangle inside the 4x4 source");
}

TEST(ResizeErrors, PartOutsideTheResult) {
  EXPECT_EQ(error_of(pattern(4, 4), {.width = 2, .height = 2, .part = Region{1, 0, 2, 1}}, 6),
            "resize: part 2x1 at (1, 0) must be a rectangle inside the 2x2 result");
}

TEST(ResizeErrors, BufferOfTheWrongSize) {
  EXPECT_EQ(error_of(pattern(4, 4), {.width = 2, .height = 2}, 11),
            "resize: result has 11 bytes, expected 12 for 2x2 RGB");
}

}  // namespace
}  // namespace engine
