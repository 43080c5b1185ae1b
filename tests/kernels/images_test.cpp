#include "kernels/images.h"

#include <string>

#include "tests/kernels/guarded.h"

namespace engine::testing {
namespace {

using namespace kernels;

struct Case {
  const char* name;
  int64_t n, h, w, c, p, q;
  bool crops, flips, erases = false;
  ImageMix mix = {};
  bool gathers = false;
  bool mixes() const { return mix.partner != 0; }
};

const Case kCases[] = {
    {"plain", 2, 8, 8, 3, 8, 8, false, false},
    {"odd", 3, 7, 5, 3, 7, 5, false, false},
    {"flipped", 4, 6, 8, 3, 6, 8, false, true},
    {"padded_crop", 6, 8, 8, 3, 8, 8, true, true},
    {"smaller_crop", 5, 11, 9, 3, 4, 7, true, true},
    {"one_channel", 2, 28, 28, 1, 28, 28, true, false},
    {"many_channels", 2, 5, 4, 19, 5, 4, true, true},
    {"erased", 4, 8, 8, 3, 8, 8, false, true, true},
    {"mixup", 4, 6, 8, 3, 6, 8, false, false, false, {.weight = 0.7f, .partner = 1}},
    {"cutmix", 5, 8, 8, 3, 8, 8, false, false, false, {.partner = 3, .top = 2, .left = 3, .bottom = 7, .right = 6}},
    {"cutmix_of_nothing", 3, 8, 8, 3, 8, 8, false, false, false, {.partner = 1, .top = 3, .left = 2, .bottom = 3}},
    {"everything",
     3,
     9,
     7,
     3,
     5,
     8,
     true,
     true,
     true,
     {.weight = 0.25f, .partner = 4, .top = 1, .left = 1, .bottom = 4, .right = 7}},
    {"everything_of_many_channels", 3, 5, 6, 11, 5, 6, true, true, true, {.weight = 0.6f, .partner = 2}},
    {"gathered", 5, 6, 8, 3, 6, 8, false, false, false, {}, true},
    {"all_of_gathered", 4, 9, 7, 3, 5, 8, true, true, true, {.weight = 0.25f, .partner = 1}, true}};

class NormalizeImagesTest : public ::testing::TestWithParam<std::tuple<Case, DataType, int64_t>> {};

TEST_P(NormalizeImagesTest, CropsFlipsAndNormalises) {
  const auto& [s, type, offset] = GetParam();
  std::vector<uint8_t> x(static_cast<size_t>(s.n * s.h * s.w * s.c));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i * 89 % 253);
  std::vector<float> mean(static_cast<size_t>(s.c)), deviation(mean.size());
  for (size_t c = 0; c < mean.size(); ++c) {
    mean[c] = 0.4f + 0.01f * static_cast<float>(c);
    deviation[c] = 0.2f + 0.015f * static_cast<float>(c);
  }
  std::vector<int64_t> offsets, indices;
  std::vector<uint8_t> flips;
  std::vector<int64_t> erased;
  for (int64_t i = 0; i < s.n; ++i) {
    indices.push_back((i * 2 + 1) % s.n);
    offsets.push_back(i * 3 % 9 - 4);  // from 4 outside on one side to 4 on the other
    offsets.push_back(4 - i * 2 % 9);
    flips.push_back(static_cast<uint8_t>(i % 2));
    erased.insert(erased.end(), {i, 1, i + 2, 1 + 2 * i});  // of the first one no column
  }

  Array normalised;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.p; ++p)
      for (int64_t q = 0; q < s.q; ++q)
        for (int64_t c = 0; c < s.c; ++c) {
          const auto image = static_cast<size_t>(n), channel = static_cast<size_t>(c);
          const bool flipped = s.flips && flips[image];
          const int64_t row = p + (s.crops ? offsets[2 * image] : 0);
          const int64_t column = (flipped ? s.q - 1 - q : q) + (s.crops ? offsets[2 * image + 1] : 0);
          double u = 0;
          if (row >= 0 && row < s.h && column >= 0 && column < s.w)
            u = x[static_cast<size_t>((((s.gathers ? indices[image] : n) * s.h + row) * s.w + column) * s.c + c)];
          const int64_t* box = erased.data() + 4 * image;
          const bool gone = s.erases && p >= box[0] && p < box[2] && q >= box[1] && q < box[3];
          normalised.push_back(gone ? 0 : (u / 255 - mean[channel]) / deviation[channel]);
        }
  Array expected = normalised;
  if (s.mixes()) {
    for (int64_t i = 0; i < s.n * s.p * s.q * s.c; ++i) {
      const int64_t image = s.p * s.q * s.c, q = i / s.c % s.q, p = i / (s.c * s.q) % s.p, n = i / image;
      const bool in_box = p >= s.mix.top && p < s.mix.bottom && q >= s.mix.left && q < s.mix.right;
      const double weight = in_box ? 0 : double{s.mix.weight};
      const int64_t partner = (n + 10 * s.n - s.mix.partner) % s.n;
      const double other = normalised[static_cast<size_t>(partner * image + i % image)];
      expected[static_cast<size_t>(i)] = weight * normalised[static_cast<size_t>(i)] + (1 - weight) * other;
    }
  }
  Expected reference = Expected::elementwise(expected);
  for (double& m : reference.magnitude) m += 2 / 0.2;  // u / 255 and the mean, in units of the deviation

  const DeviceBuffer<uint8_t> on_device(x), device_flips(flips);
  const DeviceBuffer<int64_t> device_offsets(offsets), device_indices(indices);
  const DeviceBuffer<int64_t> device_erased(erased);
  const DeviceBuffer<ImageMix> mix(std::vector<ImageMix>{s.mix});
  const Guarded y(type, static_cast<int64_t>(expected.size()), offset);
  ASSERT_TRUE(normalize_images({.n = s.n,
                                .h = s.h,
                                .w = s.w,
                                .c = s.c,
                                .p = s.p,
                                .q = s.q,
                                .type = type,
                                .x = on_device.data(),
                                .indices = s.gathers ? device_indices.data() : nullptr,
                                .offsets = s.crops ? device_offsets.data() : nullptr,
                                .flips = s.flips ? device_flips.data() : nullptr,
                                .erased = s.erases ? device_erased.data() : nullptr,
                                .mix = s.mixes() ? mix.data() : nullptr,
                                .mean = mean.data(),
                                .std = deviation.data(),
                                .y = y.data()},
                               nullptr));
  EXPECT_TRUE(close_to(y.values(), reference, dtype_of(type), {s.n, s.p, s.q, s.c}));
}

INSTANTIATE_TEST_SUITE_P(Cases, NormalizeImagesTest,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(kDataTypes),
                                            ::testing::Values(0, 1)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param)) +
                                  (std::get<2>(instance.param) ? "_misaligned" : "");
                         });

TEST(NormalizeImages, IsExactWhereNumbersAre) {
  const float mean = 0.5f, deviation = 0.25f;
  const DeviceBuffer<uint8_t> x(std::vector<uint8_t>{0, 255});
  for (const DataType type : kDataTypes) {
    const Guarded y(type, 2);
    ASSERT_TRUE(normalize_images({.n = 1,
                                  .h = 1,
                                  .w = 2,
                                  .c = 1,
                                  .p = 1,
                                  .q = 2,
                                  .type = type,
                                  .x = x.data(),
                                  .mean = &mean,
                                  .std = &deviation,
                                  .y = y.data()},
                                 nullptr));
    EXPECT_EQ(y.values(), (Array{-2, 2}));
  }
}

// More elements than the largest grid has threads.
TEST(NormalizeImages, WalksLargeBatches) {
  const int64_t n = kMostThreads / 64 + 3;
  std::vector<uint8_t> x(static_cast<size_t>(n) * 64);
  Array expected(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = i % 3 ? 255 : 0, expected[i] = i % 3 ? 2 : -2;
  const float mean = 0.5f, deviation = 0.25f;
  const DeviceBuffer<uint8_t> on_device(x);
  const Guarded y(DataType::bf16, n * 64, 1);
  ASSERT_TRUE(normalize_images({.n = n,
                                .h = 8,
                                .w = 8,
                                .c = 1,
                                .p = 8,
                                .q = 8,
                                .type = DataType::bf16,
                                .x = on_device.data(),
                                .mean = &mean,
                                .std = &deviation,
                                .y = y.data()},
                               nullptr));
  EXPECT_TRUE(equal_to(y.values(), expected, {n, 8, 8, 1}));
}

TEST(NormalizeImages, RefusesEmptyImages) {
  const float one = 1;
  const DeviceBuffer<uint8_t> x(1);
  const Guarded y = floats(1);
  EXPECT_FALSE(normalize_images(
      {.n = 1, .h = 0, .w = 1, .c = 1, .p = 1, .q = 1, .x = x.data(), .mean = &one, .std = &one, .y = y.data()},
      nullptr));
  EXPECT_FALSE(
      normalize_images({.n = 1, .h = 1, .w = 1, .c = 1, .p = 1, .q = 1, .x = x.data(), .y = y.data()}, nullptr));
}

// Mixing nothing gives the bits of not mixing.
TEST(NormalizeImages, MixesNothingWhenTold) {
  const DeviceBuffer<uint8_t> x(std::vector<uint8_t>{3, 200, 77, 9});
  const DeviceBuffer<ImageMix> nothing(std::vector<ImageMix>{{}});
  const float mean = 0.4f, deviation = 0.3f;
  std::vector<Array> results;
  for (const ImageMix* mix : {static_cast<const ImageMix*>(nullptr), static_cast<const ImageMix*>(nothing.data())}) {
    const Guarded y = floats(4);
    ASSERT_TRUE(normalize_images({.n = 2,
                                  .h = 1,
                                  .w = 2,
                                  .c = 1,
                                  .p = 1,
                                  .q = 2,
                                  .x = x.data(),
                                  .mix = mix,
                                  .mean = &mean,
                                  .std = &deviation,
                                  .y = y.data()},
                                 nullptr));
    results.push_back(y.values());
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(MixedTargets, ShareEachLabelWithThePartner) {
  const DeviceBuffer<int64_t> labels(std::vector<int64_t>{2, 0, 0, 7});  // the last one is no class
  const DeviceBuffer<ImageMix> mix(std::vector<ImageMix>{{.target_weight = 0.75f, .partner = 1}});
  const Guarded y = floats(12);
  ASSERT_TRUE(mixed_targets({.n = 4, .k = 3, .labels = labels.data(), .mix = mix.data(), .y = y.as<float>()}, nullptr));
  EXPECT_EQ(y.values(), (Array{0, 0, 0.75, 0.75, 0, 0.25, 1, 0, 0, 0.25, 0, 0}));
}

TEST(MixedTargets, RefuseNothing) {
  const DeviceBuffer<int64_t> labels(1);
  const DeviceBuffer<ImageMix> mix(1);
  const Guarded y = floats(1);
  EXPECT_FALSE(
      mixed_targets({.n = 0, .k = 1, .labels = labels.data(), .mix = mix.data(), .y = y.as<float>()}, nullptr));
  EXPECT_FALSE(mixed_targets({.n = 1, .k = 1, .labels = labels.data(), .y = y.as<float>()}, nullptr));
}

TEST(MixedTargets, CountTheirCost) {
  EXPECT_EQ(mixed_targets_cost({.n = 4, .k = 10}).bytes, 4 * (8 + 40));
}

TEST(NormalizeImages, CountsItsCost) {
  EXPECT_EQ(normalize_images_cost({.n = 2, .h = 9, .w = 9, .c = 3, .p = 4, .q = 5, .type = DataType::bf16}).bytes,
            3 * 120);
  const ImageMix mix;  // its cost is known without looking at it
  EXPECT_EQ(normalize_images_cost({.n = 2, .h = 4, .w = 5, .c = 3, .p = 4, .q = 5, .mix = &mix}).bytes, 6 * 120);
}

}  // namespace
}  // namespace engine::testing
