#include "engine/data/transforms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/error.h"
#include "tests/data/goldens.h"

namespace engine {
namespace {

using Bytes = std::vector<uint8_t>;
using Crop = TrainTransform::Crop;

RandomStream stream(uint64_t sample) {
  return {42, 0, sample, purpose::kAugmentation};
}

Bytes buffer(int size) {
  return Bytes(static_cast<size_t>(size) * static_cast<size_t>(size) * 3);
}

Bytes evaluated(const Image& image, const EvalTransform& transform) {
  Bytes result = buffer(transform.size);
  transform_image(transform, image, result);
  return result;
}

// A picture of one row or column whose red channel is 1, 2, 3, ...
Image ramp(int width, int height) {
  Image image{width, height, {}};
  for (int i = 0; i < width * height; ++i) image.pixels.insert(image.pixels.end(), {static_cast<uint8_t>(i + 1), 0, 0});
  return image;
}

Bytes reds(const Bytes& pixels) {
  Bytes red;
  for (size_t i = 0; i < pixels.size(); i += 3) red.push_back(pixels[i]);
  return red;
}

TEST(Transforms, EqualPillowOnRealPhotos) {
  ENGINE_SKIP_WITHOUT_TEST_DATA();
  for (const auto& row : golden_rows("photos.tsv")) {
    SCOPED_TRACE(row[0]);
    const Image image = decode_image(read_bytes(test_data() / "images/photos" / row[0]), row[0]);
    const int x = image.width / 5, y = image.height / 7;
    const Augmentation choice = {{x, y, image.width * 3 / 5, image.height * 5 / 8}, true};
    size_t column = 4;
    for (const auto method : {Interpolation::bilinear, Interpolation::bicubic})
      EXPECT_EQ(hash(evaluated(image, {.interpolation = method})), row[column++]);
    for (const auto method : {Interpolation::bilinear, Interpolation::bicubic}) {
      Bytes result = buffer(224);
      Augmentation filtered = choice;
      filtered.interpolation = method;
      transform_image(TrainTransform{}, image, filtered, result);
      EXPECT_EQ(hash(result), row[column++]);
    }
  }
}

// What a policy chooses is done to the cropped picture, after crop and flip, which it does not change.
TEST(TrainTransform, AppliesJitterAndPolicyToTheCrop) {
  const Image image = pattern(60, 45);
  TrainTransform plain = {.size = 32}, augmented = plain;
  augmented.jitter = {.brightness = 0.5};
  augmented.policy = {.kind = AugmentPolicy::Kind::random, .num_ops = 3};
  for (uint64_t sample = 0; sample < 20; ++sample) {
    RandomStream random = stream(sample), same = stream(sample), again = stream(sample);
    Bytes expected = buffer(32), result = buffer(32);
    const Augmentation choice = choose_augmentation(augmented, 60, 45, random);
    EXPECT_EQ(choice.crop, choose_augmentation(plain, 60, 45, same).crop);
    ASSERT_EQ(choice.ops.size(), 4u);
    EXPECT_EQ(choice.ops[0].operation, Operation::brightness);
    transform_image(plain, image, {choice.crop, choice.flip}, expected);
    for (const PixelOp& op : choice.ops) apply(op, Pixels(expected, 32, 32), {});
    transform_image(augmented, image, again, result);
    EXPECT_EQ(result, expected);
  }
}

TEST(TrainTransform, TakesBothFiltersInTurnOnRequest) {
  int bicubic = 0;
  for (uint64_t sample = 0; sample < 200; ++sample) {
    RandomStream random = stream(sample);
    const Augmentation choice = choose_augmentation({.random_interpolation = true}, 60, 45, random);
    bicubic += choice.interpolation == Interpolation::bicubic;
  }
  EXPECT_NEAR(bicubic, 100, 30);
}

TEST(RandomResizedCrop, StaysInsideWithTheAskedAreaAndProportions) {
  const TrainTransform transform;
  double smallest = 1, largest = 0;
  for (uint64_t sample = 0; sample < 2000; ++sample) {
    RandomStream random = stream(sample);
    const Region crop = choose_augmentation(transform, 500, 375, random).crop;
    ASSERT_GE(crop.x, 0);
    ASSERT_GE(crop.y, 0);
    ASSERT_LE(crop.x + crop.width, 500);
    ASSERT_LE(crop.y + crop.height, 375);
    const double share = crop.width * crop.height / (500.0 * 375.0);
    const double ratio = static_cast<double>(crop.width) / crop.height;
    ASSERT_GE(ratio, 0.75 * 0.99);  // sides are whole pixels
    ASSERT_LE(ratio, 4.0 / 3 * 1.01);
    smallest = std::min(smallest, share);
    largest = std::max(largest, share);
  }
  EXPECT_NEAR(smallest, 0.08, 0.005);
  EXPECT_GT(largest, 0.95);
}

TEST(RandomResizedCrop, FallsBackToTheCentreOfAnElongatedImage) {
  RandomStream random = stream(0);
  EXPECT_EQ(choose_augmentation({}, 1000, 10, random).crop, (Region{493, 0, 13, 10}));
  EXPECT_EQ(choose_augmentation({}, 10, 1000, random).crop, (Region{0, 493, 10, 13}));
}

TEST(RandomResizedCrop, TakesTheSmallestImages) {
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 50}, {50, 1}, {2, 3}}) {
    const Image image = pattern(width, height);
    for (uint64_t sample = 0; sample < 20; ++sample) {
      Bytes result = buffer(5);
      RandomStream random = stream(sample);
      transform_image(TrainTransform{.size = 5}, image, random, result);
      if (width == 1 && height == 1) {
        for (size_t i = 0; i < result.size(); ++i) ASSERT_EQ(result[i], image.pixels[i % 3]);
      }
    }
  }
}

TEST(TrainTransform, IsAFunctionOfTheStream) {
  const Image image = pattern(100, 80);
  Bytes first = buffer(32), again = first, other = first;
  RandomStream a = stream(7), b = stream(7), c = stream(8);
  transform_image(TrainTransform{.size = 32}, image, a, first);
  transform_image(TrainTransform{.size = 32}, image, b, again);
  transform_image(TrainTransform{.size = 32}, image, c, other);
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

TEST(TrainTransform, FlipsHalfOfTheImages) {
  int flips = 0;
  for (uint64_t sample = 0; sample < 4000; ++sample) {
    RandomStream random = stream(sample);
    flips += choose_augmentation({.crop = Crop::none}, 9, 9, random).flip;
  }
  EXPECT_NEAR(flips, 2000, 160);  // 5 standard deviations
}

TEST(TrainTransform, FlipsNoImageUnlessAsked) {
  for (uint64_t sample = 0; sample < 100; ++sample) {
    RandomStream random = stream(sample);
    ASSERT_FALSE(choose_augmentation({.flip = false}, 9, 9, random).flip);
  }
}

TEST(PadAndCrop, ShiftsByUpToThePaddingWithZerosOutside) {
  const Image image = ramp(3, 3);
  const TrainTransform transform = {.crop = Crop::pad_and_crop, .size = 3, .padding = 1};
  Bytes result = buffer(3);
  transform_image(transform, image, {{-1, -1, 3, 3}, false}, result);
  EXPECT_EQ(reds(result), (Bytes{0, 0, 0, 0, 1, 2, 0, 4, 5}));
  transform_image(transform, image, {{1, 0, 3, 3}, true}, result);
  EXPECT_EQ(reds(result), (Bytes{0, 3, 2, 0, 6, 5, 0, 9, 8}));
}

TEST(PadAndCrop, ReachesEveryOffsetEquallyOften) {
  const TrainTransform transform = {.crop = Crop::pad_and_crop, .size = 32};
  std::array<int, 81> counts{};
  for (uint64_t sample = 0; sample < 8100; ++sample) {
    RandomStream random = stream(sample);
    const Region crop = choose_augmentation(transform, 32, 32, random).crop;
    ASSERT_TRUE(crop.x >= -4 && crop.x <= 4 && crop.y >= -4 && crop.y <= 4);
    ++counts[static_cast<size_t>(9 * (crop.y + 4) + crop.x + 4)];
  }
  for (const int count : counts) EXPECT_NEAR(count, 100, 50);
}

TEST(PadAndCrop, RefusesAnImageThatIsTooSmall) {
  RandomStream random = stream(0);
  try {
    choose_augmentation({.crop = Crop::pad_and_crop, .size = 32}, 40, 20, random);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_STREQ(error.what(),
                 "pad-and-crop: an image of 40x20 padded by 4 is smaller than the 32x32 crop; use a random "
                 "resized crop or a smaller size");
  }
}

// Offsets as torchvision's center_crop: half a pixel is rounded to even.
TEST(EvalTransform, CutsTheCentre) {
  const EvalTransform one = {.resize = 0, .size = 1}, two = {.resize = 0, .size = 2};
  EXPECT_EQ(reds(evaluated(ramp(4, 1), one)), (Bytes{3}));           // 1.5 to 2
  EXPECT_EQ(reds(evaluated(ramp(2, 1), one)), (Bytes{1}));           // 0.5 to 0
  EXPECT_EQ(reds(evaluated(ramp(5, 2), two)), (Bytes{3, 4, 8, 9}));  // 1.5 to 2
}

TEST(EvalTransform, PadsASmallerImageTheOddPixelLast) {
  EXPECT_EQ(reds(evaluated(ramp(1, 2), {.resize = 0, .size = 4})),
            (Bytes{0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0}));
}

TEST(EvalTransform, PadsAnImageThatIsResizedToLessThanTheCrop) {
  const Bytes small = resize(pattern(20, 10), {.width = 8, .height = 4}).pixels;
  const Bytes result = evaluated(pattern(20, 10), {.resize = 4, .size = 10});
  Bytes expected = buffer(10);
  for (size_t y = 0; y < 4; ++y)
    std::copy_n(small.begin() + static_cast<ptrdiff_t>(24 * y), 24,
                expected.begin() + static_cast<ptrdiff_t>(30 * (y + 3) + 3));
  EXPECT_EQ(result, expected);
}

TEST(EvalTransform, ResizesTheShortSide) {
  const Image image = pattern(50, 31);
  const Image whole = resize(image, {.width = 32, .height = 20});  // 20*50/31 = 32.3
  Bytes expected;
  for (int y = 3; y < 17; ++y)
    for (int x = 9; x < 23; ++x)
      for (int c = 0; c < 3; ++c) expected.push_back(whole.pixels[static_cast<size_t>(3 * (32 * y + x) + c)]);
  EXPECT_EQ(evaluated(image, {.resize = 20, .size = 14}), expected);
}

TEST(EvalTransform, TakesAnExtremelyElongatedImageWithoutMakingAllOfIt) {
  const Image image = {1, 60000, Bytes(180000, 77)};
  EXPECT_EQ(evaluated(image, {}), Bytes(buffer(224).size(), 77));
}

TEST(TrainTransform, WithoutCropIsTheCentreMirroredOrNot) {
  const Image image = pattern(50, 31);
  const TrainTransform transform = {.crop = Crop::none, .size = 20};
  Bytes plain = buffer(20), mirrored = plain;
  transform_image(transform, image, {{0, 0, 50, 31}, false}, plain);
  transform_image(transform, image, {{0, 0, 50, 31}, true}, mirrored);
  EXPECT_EQ(plain, evaluated(image, {.resize = 20, .size = 20}));
  for (size_t y = 0; y < 20; ++y)
    for (size_t x = 0; x < 20; ++x)
      for (size_t c = 0; c < 3; ++c) ASSERT_EQ(mirrored[3 * (20 * y + x) + c], plain[3 * (20 * y + 19 - x) + c]);
}

TEST(EvalTransform, RefusesABufferOfTheWrongSize) {
  Bytes result(7);
  try {
    transform_image(EvalTransform{.size = 2}, pattern(3, 3), result);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_STREQ(error.what(), "eval transform: result has 7 bytes, expected 12 for 2x2 RGB");
  }
}

// Files of every kind: some go through partial decoding, some do not.
void expect_partial_decoding_changes_nothing(const std::filesystem::path& path, uint64_t crops) {
  SCOPED_TRACE(path);
  const Bytes file = read_bytes(path);
  Image image;
  try {
    image = decode_image(file, "file");
  } catch (const Error&) {
    return;
  }
  if (image.pixels.size() > 2'000'000) return;
  for (uint64_t sample = 0; sample < crops; ++sample) {
    const TrainTransform transform = {.size = 48};
    Bytes expected = buffer(48), result = expected;
    RandomStream random = stream(sample), again = stream(sample);
    transform_image(transform, image, random, expected);
    decode_and_transform(file, "file", transform, again, result);
    ASSERT_EQ(result, expected) << sample;
    ASSERT_EQ(random.next_u32(), again.next_u32());
  }
}

TEST(EvalWindow, IsTheCentreOfTheResizedImage) {
  const EvalWindow wide = eval_window({.resize = 256, .size = 224}, 400, 300);
  EXPECT_EQ(wide.width, 341);
  EXPECT_EQ(wide.height, 256);
  EXPECT_EQ(wide.window, (Region{58, 16, 224, 224}));  // (341 - 224) / 2 = 58.5 to even
  const EvalWindow small = eval_window({.resize = 0, .size = 32}, 28, 40);
  EXPECT_EQ(small.width, 28);
  EXPECT_EQ(small.window, (Region{-2, 4, 32, 32}));
}

TEST(DecodeAndTransform, EqualsDecodingAllOfAGoldenFile) {
  for (const auto& row : golden_rows("decode.tsv")) expect_partial_decoding_changes_nothing(golden_path(row[0]), 30);
}

TEST(DecodeAndTransform, EqualsDecodingAllOfARealPhoto) {
  ENGINE_SKIP_WITHOUT_TEST_DATA();
  for (const char* folder : {"photos", "odd", "jpeg-seeds"})
    for (const auto& entry : std::filesystem::directory_iterator(test_data() / "images" / folder))
      expect_partial_decoding_changes_nothing(entry.path(), 5);
}

TEST(DecodeAndTransform, PadsAndCropsToo) {
  const Bytes file = read_bytes(golden_path("420.jpg"));
  const TrainTransform transform = {.crop = Crop::pad_and_crop, .size = 32};
  Bytes expected = buffer(32), result = expected;
  RandomStream random = stream(3), again = stream(3);
  transform_image(transform, decode_image(file, "file"), random, expected);
  decode_and_transform(file, "file", transform, again, result);
  EXPECT_EQ(result, expected);
}

TEST(DecodeAndTransform, RefusesEveryTruncation) {
  const Bytes whole = read_bytes(golden_path("420.jpg"));
  for (size_t part = 1; part < 16; ++part)
    for (uint64_t sample = 0; sample < 10; ++sample) {
      RandomStream random = stream(sample);
      Bytes result = buffer(8);
      EXPECT_THROW(
          decode_and_transform(std::span(whole).first(whole.size() * part / 16), "file", {.size = 8}, random, result),
          Error)
          << part << "/16, sample " << sample;
    }
}

}  // namespace
}  // namespace engine
