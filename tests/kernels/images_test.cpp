#include "kernels/images.h"

#include <string>

#include "tests/kernels/guarded.h"

namespace engine::testing {
namespace {

using namespace kernels;

struct Case {
  const char* name;
  int64_t n, h, w, c, p, q;
  bool crops, flips;
};

const Case kCases[] = {
    {"plain", 2, 8, 8, 3, 8, 8, false, false},       {"odd", 3, 7, 5, 3, 7, 5, false, false},
    {"flipped", 4, 6, 8, 3, 6, 8, false, true},      {"padded_crop", 6, 8, 8, 3, 8, 8, true, true},
    {"smaller_crop", 5, 11, 9, 3, 4, 7, true, true}, {"one_channel", 2, 28, 28, 1, 28, 28, true, false},
    {"many_channels", 2, 5, 4, 19, 5, 4, true, true}};

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
  std::vector<int32_t> offsets;
  std::vector<uint8_t> flips;
  for (int32_t i = 0; i < s.n; ++i) {
    offsets.push_back(i * 3 % 9 - 4);  // from 4 outside on one side to 4 on the other
    offsets.push_back(4 - i * 2 % 9);
    flips.push_back(static_cast<uint8_t>(i % 2));
  }

  Array expected;
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
            u = x[static_cast<size_t>(((n * s.h + row) * s.w + column) * s.c + c)];
          expected.push_back((u / 255 - mean[channel]) / deviation[channel]);
        }
  Expected reference = Expected::elementwise(expected);
  for (double& m : reference.magnitude) m += 2 / 0.2;  // u / 255 and the mean, in units of the deviation

  const DeviceBuffer<uint8_t> on_device(x), device_flips(flips);
  const DeviceBuffer<int32_t> device_offsets(offsets);
  const Guarded y(type, static_cast<int64_t>(expected.size()), offset);
  ASSERT_TRUE(normalize_images({.n = s.n,
                                .h = s.h,
                                .w = s.w,
                                .c = s.c,
                                .p = s.p,
                                .q = s.q,
                                .type = type,
                                .x = on_device.data(),
                                .offsets = s.crops ? device_offsets.data() : nullptr,
                                .flips = s.flips ? device_flips.data() : nullptr,
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

TEST(NormalizeImages, CountsItsCost) {
  EXPECT_EQ(normalize_images_cost({.n = 2, .h = 9, .w = 9, .c = 3, .p = 4, .q = 5, .type = DataType::bf16}).bytes,
            3 * 120);
}

}  // namespace
}  // namespace engine::testing
