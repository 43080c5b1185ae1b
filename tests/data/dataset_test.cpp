#include "engine/data/dataset.h"

#include <gmock/gmock.h>

#include <array>
#include <atomic>
#include <cmath>
#include <set>
#include <thread>

#include "tests/data/data_testing.h"

namespace engine {
namespace {

using test::error_of;
using test::fake_dataset;
using testing::ElementsAre;
using testing::EndsWith;

std::vector<int64_t> first_bytes(const Dataset& dataset) {
  std::vector<int64_t> bytes;
  for (int64_t i = 0; i < dataset.size(); ++i) bytes.push_back(dataset.load(i).pixels[0]);
  return bytes;
}

TEST(Subset, ShowsTheChosenSamplesInTheGivenOrder) {
  const DatasetPtr part = subset(fake_dataset({.size = 10}), {7, 2, 4});
  EXPECT_EQ(part->size(), 3);
  EXPECT_EQ(part->num_classes(), 2);
  EXPECT_THAT(first_bytes(*part), ElementsAre(7, 2, 4));
  EXPECT_EQ(part->label(0), 1);
  EXPECT_EQ(part->describe(1), "picture 2");
}

TEST(SplitDataset, DividesEverySampleOnce) {
  const DatasetPtr whole = fake_dataset({.size = 200});
  const DatasetPair parts = split_dataset(whole, 50, 1);
  EXPECT_EQ(parts.val->size(), 50);
  std::set<int64_t> all;
  for (int64_t byte : first_bytes(*parts.train)) all.insert(byte);
  for (int64_t byte : first_bytes(*parts.val)) all.insert(byte);
  EXPECT_EQ(all.size(), 200u);
  EXPECT_EQ(parts.summary, "50 of 200 samples held out for validation");
}

TEST(SplitDataset, GivesEachClassItsShareAndTheTotalExactly) {
  // 60, 30 and 10 of 100: a quarter is 15, 7.5 and 2.5, and the odd one goes to the lower class.
  const DatasetPtr whole = fake_dataset({.size = 100, .num_classes = 3, .label = [](int64_t i) {
                                           return i < 60 ? 0 : i < 90 ? 1 : 2;
                                         }});
  const DatasetPair parts = split_dataset(whole, 0.25, 3);
  std::array<int, 3> counts{};
  for (int64_t i = 0; i < parts.val->size(); ++i) ++counts[static_cast<size_t>(parts.val->label(i))];
  EXPECT_THAT(counts, ElementsAre(15, 8, 2));
}

TEST(SplitDataset, IsAFunctionOfTheSeed) {
  const DatasetPtr whole = fake_dataset({.size = 100});
  const auto held_out = [&](uint64_t seed) { return first_bytes(*split_dataset(whole, 0.2, seed).val); };
  EXPECT_EQ(held_out(1), held_out(1));
  EXPECT_NE(held_out(1), held_out(2));
}

TEST(SplitDataset, LeavesEachClassATrainingSample) {
  const DatasetPtr whole = fake_dataset({.size = 10, .label = [](int64_t i) { return i == 0 ? 0 : 1; }});
  const DatasetPair parts = split_dataset(whole, 8, 1);
  EXPECT_EQ(parts.train->label(0), 0);
  EXPECT_EQ(parts.train->size(), 2);
  EXPECT_EQ(error_of(ErrorKind::usage, [&] { split_dataset(whole, 9, 1); }),
            "val-split: 9 of 10 samples would leave a class without a training sample; hold out fewer");
}

TEST(SplitDataset, RefusesWhatIsNoPart) {
  const DatasetPtr whole = fake_dataset({.size = 10});
  const auto refusal = [&](double amount) {
    return error_of(ErrorKind::usage, [&] { split_dataset(whole, amount, 1); });
  };
  EXPECT_EQ(refusal(-0.1), "val-split: -0.1 is neither a fraction between 0 and 1 nor a whole number of samples");
  EXPECT_EQ(refusal(2.5), "val-split: 2.5 is neither a fraction between 0 and 1 nor a whole number of samples");
  EXPECT_THAT(refusal(std::nan("")), EndsWith("nor a whole number of samples"));
  EXPECT_EQ(refusal(10), "val-split: 10 of 10 samples would leave none to train on; hold out fewer");
  EXPECT_EQ(refusal(1e300), "val-split: 1e+300 of 10 samples would leave none to train on; hold out fewer");
  EXPECT_EQ(refusal(0.01), "val-split: 0.01 of 10 samples is none at all; hold out more");
  EXPECT_EQ(refusal(0.97), "val-split: 0.97 of 10 samples would leave none to train on; hold out fewer");
}

TEST(KeepInMemory, DecodesOnlyTheFilesThatItKeeps) {
  std::atomic<int> reads = 0;
  const DatasetPtr kept = keep_in_memory(fake_dataset({.file =
                                                           [&](int64_t index) {
                                                             ++reads;
                                                             return index == 0 ? test::solid_png(2, 2, 1, 2, 3)
                                                                               : test::solid_png(3, 2, 1, 2, 3);
                                                           }}),
                                         12);
  for (int round = 0; round < 2; ++round) {
    const Picture small = kept->read(0), large = kept->read(1);
    EXPECT_FALSE(small.encoded());
    EXPECT_EQ(small.image.pixels.size(), 12u);
    EXPECT_EQ(large.file, test::solid_png(3, 2, 1, 2, 3));
    EXPECT_EQ(large.name, "picture 1");
  }
  EXPECT_EQ(reads, 3);
}

TEST(KeepInMemory, LoadsASmallPictureOnce) {
  std::atomic<int> loads = 0;
  const DatasetPtr kept =
      keep_in_memory(fake_dataset({.load =
                                       [&](int64_t index) {
                                         ++loads;
                                         return Image{.width = 1, .height = 1, .pixels = {uint8_t(index), 1, 2}};
                                       }}),
                     3);
  for (int repeat = 0; repeat < 3; ++repeat) EXPECT_THAT(kept->load(5).pixels, ElementsAre(5, 1, 2));
  EXPECT_EQ(loads, 1);
  EXPECT_TRUE(kept->resident());
}

TEST(KeepInMemory, DoesNotKeepAPictureBeyondItsShare) {
  std::atomic<int> loads = 0;
  const DatasetPtr kept =
      keep_in_memory(fake_dataset({.load =
                                       [&](int64_t) {
                                         ++loads;
                                         return Image{.width = 2, .height = 1, .pixels = {0, 0, 0, 0, 0, 0}};
                                       }}),
                     5);
  kept->load(0);
  kept->load(0);
  EXPECT_EQ(loads, 2);
}

TEST(KeepInMemory, LeavesAResidentSetAsItIs) {
  const DatasetPtr kept = keep_in_memory(fake_dataset({}), 3);
  EXPECT_EQ(keep_in_memory(kept, 3), kept);
  const DatasetPtr other = fake_dataset({});
  EXPECT_EQ(keep_in_memory(other, 0), other);
}

TEST(KeepInMemory, ServesManyThreadsAtOnce) {
  const DatasetPtr kept = keep_in_memory(fake_dataset({.size = 50}), 3);
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int round = 0; round < 20; ++round) {
          for (int64_t i = 0; i < 50; ++i) wrong += kept->load(i).pixels[0] != i;
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace engine
