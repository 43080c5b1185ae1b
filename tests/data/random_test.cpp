#include "engine/random.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "engine/error.h"

namespace engine {
namespace {

using testing::ElementsAre;

// kat_vectors of Random123, the generator's reference distribution.
TEST(Philox, GivesThePublishedKnownAnswers) {
  EXPECT_THAT(philox4x32({0, 0, 0, 0}, {0, 0}), ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

// Runs resume on another day with another build: the streams themselves are part of the contract.
TEST(RandomStream, IsTheSameForever) {
  RandomStream random(1, 2, 3, 4);
  const std::array<uint32_t, 5> first = {random.next_u32(), random.next_u32(), random.next_u32(), random.next_u32(),
                                         random.next_u32()};
  const auto key = philox4x32({2, 0, 4, 0}, {1, 0});
  const auto block0 = philox4x32({0, 0, 3, 0}, {key[0], key[1]});
  const auto block1 = philox4x32({1, 0, 3, 0}, {key[0], key[1]});
  EXPECT_THAT(first, ElementsAre(block0[0], block0[1], block0[2], block0[3], block1[0]));
}

TEST(RandomStream, EachKeyPartAndEachBitOfItChangesTheNumbers) {
  std::set<uint64_t> firsts;
  const auto first = [](uint64_t seed, uint64_t epoch, uint64_t sample, uint32_t use) {
    RandomStream random(seed, epoch, sample, use);
    const uint64_t high = random.next_u32();
    return high << 32 | random.next_u32();
  };
  firsts.insert(first(0, 0, 0, 0));
  for (int bit = 0; bit < 64; ++bit) {
    firsts.insert(first(uint64_t{1} << bit, 0, 0, 0));
    firsts.insert(first(0, uint64_t{1} << bit, 0, 0));
    firsts.insert(first(0, 0, uint64_t{1} << bit, 0));
    if (bit < 32) firsts.insert(first(0, 0, 0, uint32_t{1} << bit));
  }
  EXPECT_EQ(firsts.size(), 1u + 64 * 3 + 32);
}

TEST(RandomStream, UniformIsFlatAndBelowOne) {
  constexpr int kDraws = 200000, kBins = 64;
  RandomStream random(7, 0, 0, 0);
  std::vector<int> bins(kBins);
  for (int i = 0; i < kDraws; ++i) {
    const float value = random.uniform();
    ASSERT_GE(value, 0.0f);
    ASSERT_LT(value, 1.0f);
    ++bins[static_cast<size_t>(value * kBins)];
  }
  double chi2 = 0;
  for (int count : bins) chi2 += std::pow(count - kDraws / kBins, 2) / (kDraws / kBins);
  EXPECT_LT(chi2, 63 + 5 * std::sqrt(2.0 * 63));  // mean and 5 standard deviations with 63 degrees of freedom
}

TEST(RandomStream, UniformDoubleHasFiftyThreeBits) {
  RandomStream random(7, 0, 0, 0);
  double sum = 0;
  bool finer_than_float = false;
  for (int i = 0; i < 100000; ++i) {
    const double value = random.uniform_double();
    ASSERT_TRUE(value >= 0 && value < 1);
    ASSERT_EQ(std::floor(value * 0x1p53), value * 0x1p53);
    finer_than_float |= std::floor(value * 0x1p40) != value * 0x1p40;
    sum += value;
  }
  EXPECT_TRUE(finer_than_float);
  EXPECT_NEAR(sum / 100000, 0.5, 5 * std::sqrt(1.0 / 12 / 100000));
}

TEST(RandomStream, BelowIsFlatForSizesThatDoNotDivide) {
  for (uint32_t n : {1u, 2u, 3u, 10u, 1000u, 3u << 30}) {
    RandomStream random(9, n, 0, 0);
    constexpr int kDraws = 60000;
    const uint32_t third = n / 3 + (n % 3 != 0);
    std::array<int, 3> thirds{};
    for (int i = 0; i < kDraws; ++i) {
      const uint32_t value = random.below(n);
      ASSERT_LT(value, n);
      ++thirds[value / third];
    }
    // 3 * 2^30 is where taking a remainder would favour the low third twice over.
    for (uint32_t part = 0; part < 3; ++part) {
      const double low = std::min<double>(n, double(third) * part);
      const double p = (std::min<double>(n, low + third) - low) / n;
      EXPECT_NEAR(thirds[part], kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p)) + 1e-9) << n;
    }
  }
}

TEST(RandomStream, NormalHasTheMomentsOfAGaussian) {
  RandomStream random(3, 1, 4, 1);
  constexpr int kDraws = 200000;
  double sum = 0, square = 0, fourth = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = random.normal();
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    square += value * value;
    fourth += value * value * value * value;
  }
  EXPECT_NEAR(sum / kDraws, 0, 5 / std::sqrt(kDraws));
  EXPECT_NEAR(square / kDraws, 1, 5 * std::sqrt(2.0 / kDraws));
  EXPECT_NEAR(fourth / kDraws, 3, 5 * std::sqrt(96.0 / kDraws));
}

TEST(RandomPermutation, HoldsEachNumberOnceAndChangesWithEachKey) {
  auto order = random_permutation(1000, 1, 0, purpose::kOrder);
  EXPECT_EQ(order, random_permutation(1000, 1, 0, purpose::kOrder));
  EXPECT_NE(order, random_permutation(1000, 2, 0, purpose::kOrder));
  EXPECT_NE(order, random_permutation(1000, 1, 1, purpose::kOrder));
  EXPECT_NE(order, random_permutation(1000, 1, 0, purpose::kValSplit));
  std::sort(order.begin(), order.end());
  std::vector<int64_t> all(1000);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(order, all);
  EXPECT_TRUE(random_permutation(0, 1, 0, purpose::kOrder).empty());
}

// bench/peers/held_out.py draws the same: tests/bench/held_out_test.py.
TEST(RandomPermutation, IsTheOneThatPeersDraw) {
  EXPECT_THAT(random_permutation(12, 7, 3, purpose::kValSplit),
              ::testing::ElementsAre(7, 8, 0, 10, 9, 5, 6, 11, 2, 4, 3, 1));
}

TEST(RandomPermutation, EveryNumberIsEquallyLikelyInEveryPlace) {
  constexpr int kSize = 8, kEpochs = 20000;
  std::array<std::array<int, kSize>, kSize> counts{};
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const auto order = random_permutation(kSize, 5, epoch, purpose::kOrder);
    for (int place = 0; place < kSize; ++place) ++counts[place][order[place]];
  }
  const double expected = double(kEpochs) / kSize;
  for (const auto& place : counts) {
    for (int count : place) EXPECT_NEAR(count, expected, 5 * std::sqrt(expected));
  }
}

TEST(RandomPermutation, RefusesANegativeSize) {
  try {
    random_permutation(-1, 0, 0, 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "random_permutation: n is -1, but 0 to 4294967295 are supported");
  }
}

}  // namespace
}  // namespace engine
