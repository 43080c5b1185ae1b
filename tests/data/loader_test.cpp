#include "engine/data/loader.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <optional>
#include <semaphore>
#include <set>
#include <stdexcept>
#include <thread>

#include "tests/data/data_testing.h"

namespace engine {
namespace {

using test::error_of;
using test::fake_dataset;
using testing::ElementsAre;
using namespace std::chrono_literals;

// One pixel: the sample's own byte and two that only the stream decides.
void mark(const Picture& picture, RandomStream& random, std::span<uint8_t> out) {
  out[0] = picture.image.pixels[0];
  out[1] = static_cast<uint8_t>(random.next_u32());
  out[2] = static_cast<uint8_t>(random.below(200));
}

struct Epoch {
  std::vector<int64_t> numbers, counts, labels, indices;
  std::vector<uint8_t> images;
  bool operator==(const Epoch&) const = default;
};

Epoch drain(Loader& loader) {
  Epoch epoch;
  Batch batch;
  while (loader.next(batch)) {
    epoch.numbers.push_back(batch.number);
    epoch.counts.push_back(batch.count);
    EXPECT_EQ(batch.labels.size(), static_cast<size_t>(batch.count));
    EXPECT_EQ(batch.indices.size(), static_cast<size_t>(batch.count));
    EXPECT_EQ(batch.images.size(), static_cast<size_t>(batch.count * batch.height * batch.width * 3));
    epoch.labels.insert(epoch.labels.end(), batch.labels.begin(), batch.labels.end());
    epoch.indices.insert(epoch.indices.end(), batch.indices.begin(), batch.indices.end());
    epoch.images.insert(epoch.images.end(), batch.images.begin(), batch.images.end());
  }
  return epoch;
}

Epoch run_epoch(const DatasetPtr& dataset, const LoaderOptions& options, int64_t epoch, int64_t first_batch = 0) {
  Loader loader(dataset, mark, options);
  loader.start(epoch, first_batch);
  return drain(loader);
}

LoaderOptions tiny(LoaderOptions options = {}) {
  options.height = options.width = 1;
  return options;
}

// Slow and fast samples in turn, so that the workers overtake each other.
DatasetPtr uneven(int64_t size) {
  return fake_dataset({.size = size, .load = [](int64_t index) {
                         if (index % 7 == 0) std::this_thread::sleep_for(300us);
                         return Image{.width = 1, .height = 1, .pixels = {static_cast<uint8_t>(index), 0, 0}};
                       }});
}

TEST(Loader, GivesTheSameBitsWithAnyNumberOfWorkersAndAnyPrefetch) {
  const DatasetPtr dataset = uneven(203);
  const Epoch expected = run_epoch(dataset, tiny({.batch_size = 16, .workers = 0, .seed = 5}), 3);
  EXPECT_EQ(expected.indices.size(), 203u);
  for (int workers : {1, 2, 5, 16}) {
    for (int64_t prefetch : {1, 2, 40}) {
      const LoaderOptions options =
          tiny({.batch_size = 16, .workers = workers, .prefetch_batches = prefetch, .seed = 5});
      EXPECT_EQ(run_epoch(dataset, options, 3), expected) << workers << " workers, prefetch " << prefetch;
    }
  }
}

TEST(Loader, KeepsLabelAndPictureTogether) {
  const Epoch epoch = run_epoch(uneven(100), tiny({.batch_size = 7, .workers = 3}), 0);
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(epoch.images[3 * i], epoch.indices[i]);
    EXPECT_EQ(epoch.labels[i], epoch.indices[i] % 2);
  }
}

TEST(Loader, ResumesAtAnyBatch) {
  const DatasetPtr dataset = uneven(50);
  const LoaderOptions options = tiny({.batch_size = 8, .workers = 2, .seed = 1});
  const Epoch whole = run_epoch(dataset, options, 2);
  for (int64_t first = 0; first <= 7; ++first) {
    const Epoch rest = run_epoch(dataset, options, 2, first);
    EXPECT_EQ(rest.indices,
              std::vector<int64_t>(whole.indices.begin() + std::min<int64_t>(50, 8 * first), whole.indices.end()));
    EXPECT_EQ(rest.images,
              std::vector<uint8_t>(whole.images.begin() + 3 * std::min<int64_t>(50, 8 * first), whole.images.end()));
    if (first < 7) {
      EXPECT_EQ(rest.numbers.front(), first);
    }
  }
}

TEST(Loader, JumpsFromTheMiddleOfAnEpoch) {
  const DatasetPtr dataset = uneven(60);
  const LoaderOptions options = tiny({.batch_size = 4, .workers = 3, .seed = 1});
  Loader loader(dataset, mark, options);
  Batch batch;
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    loader.start(epoch);
    for (int64_t i = 0; i <= epoch % 5; ++i) ASSERT_TRUE(loader.next(batch));
  }
  loader.start(7);
  EXPECT_EQ(drain(loader), run_epoch(dataset, options, 7));
}

TEST(Loader, TrainsOnEverySampleOnceInAnOrderOfItsOwnEachEpoch) {
  const DatasetPtr dataset = uneven(100);
  const LoaderOptions options = tiny({.batch_size = 9, .workers = 2, .seed = 1});
  const Epoch first = run_epoch(dataset, options, 0), second = run_epoch(dataset, options, 1);
  EXPECT_NE(first.indices, second.indices);
  for (const Epoch& epoch : {first, second}) {
    EXPECT_EQ(std::set<int64_t>(epoch.indices.begin(), epoch.indices.end()).size(), 100u);
    EXPECT_THAT(epoch.counts, ElementsAre(9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1));
  }
  EXPECT_NE(run_epoch(dataset, tiny({.batch_size = 9, .workers = 2, .seed = 2}), 0).indices, first.indices);
}

TEST(Loader, TheBatchSizeChangesNeitherOrderNorAugmentation) {
  const DatasetPtr dataset = uneven(60);
  const Epoch small = run_epoch(dataset, tiny({.batch_size = 4}), 1);
  const Epoch large = run_epoch(dataset, tiny({.batch_size = 32}), 1);
  EXPECT_EQ(small.indices, large.indices);
  EXPECT_EQ(small.images, large.images);
}

TEST(Loader, AugmentsASampleAnewEachEpoch) {
  const DatasetPtr dataset = fake_dataset({.size = 1});
  EXPECT_NE(run_epoch(dataset, tiny({.batch_size = 1}), 0).images,
            run_epoch(dataset, tiny({.batch_size = 1}), 1).images);
}

TEST(Loader, EvaluatesEverySampleOnceInOrder) {
  const LoaderOptions options = tiny({.mode = LoaderMode::evaluate, .batch_size = 16, .workers = 3});
  std::vector<int64_t> all(50);
  std::iota(all.begin(), all.end(), 0);
  for (int64_t epoch : {0, 1}) EXPECT_EQ(run_epoch(uneven(50), options, epoch).indices, all);
}

TEST(Loader, DropsALastBatchThatIsNotFull) {
  const LoaderOptions options = tiny({.batch_size = 16, .drop_last = true});
  Loader loader(uneven(50), mark, options);
  EXPECT_EQ(loader.batches_per_epoch(), 3);
  loader.start(0);
  EXPECT_THAT(drain(loader).counts, ElementsAre(16, 16, 16));
}

TEST(Loader, ReusesTheMemoryOfTheBatches) {
  Loader loader(uneven(200), mark, tiny({.batch_size = 10, .workers = 2, .prefetch_batches = 3}));
  Batch batch;
  std::set<const uint8_t*> buffers;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    loader.start(epoch);
    while (loader.next(batch)) buffers.insert(batch.images.data());
  }
  EXPECT_LE(buffers.size(), 4u);  // three ahead and the caller's
}

TEST(Loader, PreparesNoMoreBatchesThanItMay) {
  std::atomic<int> loads = 0;
  Loader loader(fake_dataset({.size = 100,
                              .load =
                                  [&](int64_t) {
                                    ++loads;
                                    return Image{.width = 1, .height = 1, .pixels = {0, 0, 0}};
                                  }}),
                mark, tiny({.batch_size = 5, .workers = 4, .prefetch_batches = 2}));
  loader.start(0);
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(loads, 10);
  Batch batch;
  ASSERT_TRUE(loader.next(batch));
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(loads, 15);
}

DatasetPtr slow(std::chrono::milliseconds time) {
  return fake_dataset({.size = 1000, .load = [time](int64_t) {
                         std::this_thread::sleep_for(time);
                         return Image{.width = 1, .height = 1, .pixels = {0, 0, 0}};
                       }});
}

TEST(Loader, MeasuresWhatTheConsumerWaits) {
  for (int workers : {0, 2}) {
    Loader loader(slow(20ms), mark, tiny({.batch_size = 4, .workers = workers}));
    loader.start(0);
    Batch batch;
    ASSERT_TRUE(loader.next(batch));
    EXPECT_GE(loader.wait_seconds(), 0.03) << workers;
    EXPECT_LE(loader.wait_seconds(), 5) << workers;
  }
  Loader ready(fake_dataset({}), mark, tiny({.batch_size = 4, .workers = 1}));
  ready.start(0);
  std::this_thread::sleep_for(300ms);
  Batch batch;
  ASSERT_TRUE(ready.next(batch));
  EXPECT_EQ(ready.wait_seconds(), 0);
}

TEST(Loader, EndsAtOnceWhateverItsWorkersDo) {
  const auto start = std::chrono::steady_clock::now();
  {
    Loader never_started(slow(50ms), mark, tiny({.batch_size = 64, .workers = 4}));
    Loader at_work(slow(50ms), mark, tiny({.batch_size = 64, .workers = 4}));
    at_work.start(0);
    Loader full(uneven(1000), mark, tiny({.batch_size = 4, .workers = 4, .prefetch_batches = 1}));
    full.start(0);
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
}

TEST(Loader, RefusesOptionsThatCannotBeMet) {
  const auto refusal = [](LoaderOptions options, int64_t size = 10) {
    return error_of(ErrorKind::usage, [&] { Loader(fake_dataset({.size = size}), mark, options); });
  };
  EXPECT_EQ(refusal({.batch_size = 0}), "sampler: batch size 0, but 1 or more is needed");
  EXPECT_EQ(refusal({}, 0), "sampler: the data set is empty");
  EXPECT_EQ(refusal({.batch_size = 11, .drop_last = true}),
            "sampler: batch size 11 is more than the 10 samples, and a batch that is not full is dropped; lower the "
            "batch size");
  EXPECT_EQ(refusal({.height = 0}), "loader: picture size 0x224, but 1x1 or more is needed");
  EXPECT_EQ(refusal({.workers = -1}), "loader: -1 workers, but 0 to 1024 are possible");
  EXPECT_EQ(refusal({.prefetch_batches = 0}), "loader: prefetch of 0 batches, but 1 or more is needed");
  EXPECT_EQ(refusal({.mode = LoaderMode::evaluate, .batch_size = 2, .drop_last = true}),
            "loader: drop_last would leave samples out of an evaluation; turn it off");
  Loader loader(fake_dataset({}), mark, tiny({.batch_size = 4}));
  Batch batch;
  EXPECT_EQ(error_of(ErrorKind::usage, [&] { loader.next(batch); }), "loader: next() before start()");
  EXPECT_EQ(error_of(ErrorKind::usage, [&] { loader.start(1, 4); }),
            "loader: cannot start at batch 4 of epoch 1; an epoch has 3 batches");
}

// The pictures in `bad` cannot be read.
DatasetPtr with_bad(int64_t size, std::set<int64_t> bad, ErrorKind kind = ErrorKind::data) {
  return fake_dataset({.size = size, .load = [bad = std::move(bad), kind](int64_t index) {
                         if (bad.contains(index)) fail(kind, "picture ", index, ": truncated");
                         return Image{.width = 1, .height = 1, .pixels = {static_cast<uint8_t>(index), 0, 0}};
                       }});
}

TEST(LoaderBadImages, AnErrorReachesTheConsumerWithItsNameWithinASecond) {
  for (int workers : {0, 1, 4}) {
    Loader loader(with_bad(400, {123}), mark, tiny({.batch_size = 4, .workers = workers}));
    loader.start(0);
    Batch batch;
    const auto read_all = [&] {
      while (loader.next(batch)) {
      }
    };
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(error_of(ErrorKind::data, read_all), "picture 123: truncated");
    EXPECT_LT(std::chrono::steady_clock::now() - start, 1s);
    EXPECT_EQ(error_of(ErrorKind::data, read_all), "picture 123: truncated");  // and stays
    loader.start(1, loader.batches_per_epoch());
    EXPECT_FALSE(loader.next(batch));
  }
}

TEST(LoaderBadImages, OtherExceptionsGetTheNameOfTheirSample) {
  const auto message = [](ErrorKind kind, std::function<Image(int64_t)> load) {
    Loader loader(fake_dataset({.size = 1, .load = std::move(load)}), mark,
                  tiny({.batch_size = 1, .workers = 1, .bad_images = BadImages::skip}));
    loader.start(0);
    Batch batch;
    return error_of(kind, [&] { loader.next(batch); });
  };
  EXPECT_EQ(message(ErrorKind::memory, [](int64_t) -> Image { throw std::bad_alloc(); }),
            "picture 0: out of memory while loading the picture");
  EXPECT_EQ(message(ErrorKind::internal, [](int64_t) -> Image { throw std::runtime_error("odd"); }), "picture 0: odd");
  EXPECT_EQ(message(ErrorKind::device, [](int64_t) -> Image { fail(ErrorKind::device, "gone"); }), "gone");
}

TEST(LoaderBadImages, SkippingPutsAnotherSampleInThePlaceAndMovesNothingElse) {
  const Epoch good = run_epoch(with_bad(100, {}), tiny({.batch_size = 8, .workers = 0, .seed = 3}), 1);
  for (int workers : {0, 3}) {
    const LoaderOptions options = tiny({.batch_size = 8, .workers = workers, .seed = 3, .bad_images = BadImages::skip});
    const Epoch epoch = run_epoch(with_bad(100, {10, 20, 30}), options, 1);
    ASSERT_EQ(epoch.indices.size(), 100u);
    for (size_t i = 0; i < 100; ++i) {
      if (good.indices[i] == 10 || good.indices[i] == 20 || good.indices[i] == 30) {
        EXPECT_NE(epoch.indices[i], good.indices[i]);
        EXPECT_EQ(epoch.images[3 * i], epoch.indices[i]);
        EXPECT_EQ(epoch.labels[i], epoch.indices[i] % 2);
        EXPECT_EQ(epoch.images[3 * i + 1], good.images[3 * i + 1]);  // the augmentation of the place
      } else {
        EXPECT_EQ(epoch.indices[i], good.indices[i]);
      }
    }
    EXPECT_EQ(epoch, run_epoch(with_bad(100, {10, 20, 30}), options, 1));
  }
}

TEST(LoaderBadImages, EvaluationLeavesThemOut) {
  for (int workers : {0, 3}) {
    const LoaderOptions options =
        tiny({.mode = LoaderMode::evaluate, .batch_size = 4, .workers = workers, .bad_images = BadImages::skip});
    // One in the middle of a batch, and one whole batch.
    const Epoch epoch = run_epoch(with_bad(14, {1, 8, 9, 10, 11}), options, 0);
    EXPECT_THAT(epoch.indices, ElementsAre(0, 2, 3, 4, 5, 6, 7, 12, 13));
    EXPECT_THAT(epoch.numbers, ElementsAre(0, 1, 3));
    EXPECT_THAT(epoch.counts, ElementsAre(3, 4, 2));
    for (size_t i = 0; i < 9; ++i) EXPECT_EQ(epoch.images[3 * i], epoch.indices[i]);
  }
}

TEST(LoaderBadImages, AreListedOnceWithTheirNames) {
  Loader loader(with_bad(50, {30, 3}), mark,
                tiny({.mode = LoaderMode::evaluate, .batch_size = 4, .bad_images = BadImages::skip}));
  for (int64_t epoch : {0, 1}) {
    loader.start(epoch);
    drain(loader);
  }
  const std::vector<BadImage> bad = loader.bad_images();
  ASSERT_EQ(bad.size(), 2u);
  EXPECT_EQ(bad[0].index, 3);
  EXPECT_EQ(bad[0].message, "picture 3: truncated");
  EXPECT_EQ(bad[1].index, 30);
}

TEST(LoaderBadImages, SkippingEndsWhenMoreThanHalfIsBad) {
  std::set<int64_t> bad;
  for (int64_t i = 0; i < 51; ++i) bad.insert(i);
  for (LoaderMode mode : {LoaderMode::train, LoaderMode::evaluate}) {
    Loader loader(with_bad(100, bad), mark,
                  tiny({.mode = mode, .batch_size = 4, .workers = 1, .bad_images = BadImages::skip}));
    loader.start(0);
    EXPECT_THAT(error_of(ErrorKind::data, [&] { drain(loader); }),
                testing::MatchesRegex("data: 51 of 100 pictures cannot be read, the last being picture [0-9]+: "
                                      "truncated"));
  }
}

TEST(LoaderBadImages, SkippingHidesNoFaultOfAnotherKind) {
  Loader loader(with_bad(10, {4}, ErrorKind::internal), mark, tiny({.batch_size = 4, .bad_images = BadImages::skip}));
  loader.start(0);
  EXPECT_EQ(error_of(ErrorKind::internal, [&] { drain(loader); }), "picture 4: truncated");
}

// What N ranks take in a step is what one takes with the N-fold batch.
TEST(LoaderRanks, TogetherTakeTheBatchesOfOneLargeRank) {
  const DatasetPtr dataset = uneven(103);
  const Epoch whole = run_epoch(dataset, tiny({.batch_size = 12, .drop_last = true, .workers = 0, .seed = 3}), 1);
  for (const int64_t ranks : {2, 3, 4}) {
    const int64_t size = 12 / ranks;
    Epoch joined;
    std::vector<Epoch> parts;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      parts.push_back(run_epoch(
          dataset, tiny({.batch_size = size, .drop_last = true, .workers = 2, .seed = 3, .rank = rank, .ranks = ranks}),
          1));
      EXPECT_EQ(parts.back().numbers, whole.numbers);
    }
    for (int64_t batch = 0; batch < 8; ++batch) {
      for (const Epoch& part : parts) {
        const auto images = part.images.begin() + 3 * size * batch;
        const auto indices = part.indices.begin() + size * batch;
        joined.indices.insert(joined.indices.end(), indices, indices + size);
        joined.images.insert(joined.images.end(), images, images + 3 * size);
      }
    }
    EXPECT_EQ(joined.indices, whole.indices) << ranks << " ranks";
    EXPECT_EQ(joined.images, whole.images) << ranks << " ranks";
  }
}

TEST(LoaderRanks, EvaluateEverySampleOnce) {
  for (const int64_t ranks : {2, 3, 7}) {
    std::vector<int64_t> seen;
    for (int64_t rank = 0; rank < ranks; ++rank) {  // of six batches, so that the seventh rank has none
      const Epoch part =
          run_epoch(uneven(23), tiny({.mode = LoaderMode::evaluate, .batch_size = 4, .rank = rank, .ranks = ranks}), 0);
      seen.insert(seen.end(), part.indices.begin(), part.indices.end());
    }
    std::sort(seen.begin(), seen.end());
    std::vector<int64_t> all(23);
    std::iota(all.begin(), all.end(), int64_t{0});
    EXPECT_EQ(seen, all) << ranks << " ranks";
  }
}

TEST(Sampler, KnowsTheSizeOfEachBatch) {
  Sampler sampler({.size = 10, .batch_size = 4});
  sampler.start(0);
  EXPECT_EQ(sampler.batches_per_epoch(), 3);
  EXPECT_THAT(sampler.batch(1), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(sampler.batch(2), ElementsAre(8, 9));
}

// As torchvision's RASampler orders them: the copies of a sample side by side, the epoch no longer than without.
TEST(Sampler, RepeatsEachSample) {
  Sampler once({.size = 10, .batch_size = 10, .shuffle = true, .seed = 3});
  Sampler repeated({.size = 10, .batch_size = 10, .shuffle = true, .repeats = 3, .seed = 3});
  once.start(2);
  repeated.start(2);
  const std::span<const int64_t> order = once.batch(0), draws = repeated.batch(0);
  ASSERT_EQ(draws.size(), 10u);
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(sample_of(draws[i]), order[i / 3]);
    EXPECT_EQ(copy_of(draws[i]), static_cast<int64_t>(i % 3));
  }
}

TEST(Loader, GivesEachCopyOfASampleAnAugmentationOfItsOwn) {
  const DatasetPtr dataset = uneven(60);
  const Epoch once = run_epoch(dataset, tiny({.batch_size = 60, .seed = 4}), 1);
  const Epoch repeated = run_epoch(dataset, tiny({.batch_size = 60, .repeats = 2, .seed = 4}), 1);
  int differ = 0;
  for (size_t i = 0; i < 60; i += 2) {
    EXPECT_EQ(repeated.indices[i], once.indices[i / 2]);
    EXPECT_EQ(repeated.indices[i + 1], once.indices[i / 2]);
    EXPECT_EQ(repeated.images[3 * i + 1], once.images[3 * (i / 2) + 1]);  // the first copy is the one without repeats
    differ += repeated.images[3 * i + 1] != repeated.images[3 * i + 4];
  }
  EXPECT_GE(differ, 28);  // of 30, where chance makes two bytes equal once in 256
}

// Without reading a picture; and a batch that went through another loader keeps nothing of it.
TEST(Loader, PlacesErasesAndMixesByTheSameNumbersAgain) {
  const DatasetPtr unreadable = fake_dataset(
      {.size = 20, .load = [](int64_t) -> Image { throw std::logic_error("a placed picture is not read"); }});
  LoaderOptions options = tiny({.batch_size = 8, .seed = 3});
  options.erasing.probability = 1;
  options.height = options.width = 10;
  options.mix.mixup_alpha = 1;
  options.place = [](RandomStream& random) {
    const auto row = static_cast<int64_t>(random.below(9));
    return Placement{.row = row - 4, .column = static_cast<int64_t>(random.below(9)) - 4, .flip = row % 2 == 0};
  };
  Batch batch, again;
  Loader loader(unreadable, mark, options);
  loader.start(1, 1);
  ASSERT_TRUE(loader.next(batch));
  EXPECT_TRUE(batch.placed());
  EXPECT_TRUE(batch.images.empty());
  EXPECT_EQ(batch.offsets.size(), 16u);
  EXPECT_EQ(batch.flips.size(), 8u);
  EXPECT_EQ(batch.erased.size(), 32u);
  EXPECT_NE(batch.mix.weight, 1);
  options.workers = 0;
  Loader same(unreadable, mark, options);
  same.start(1, 1);
  ASSERT_TRUE(same.next(again));
  EXPECT_EQ(again.offsets, batch.offsets);
  EXPECT_EQ(again.flips, batch.flips);
  EXPECT_EQ(again.erased, batch.erased);
  EXPECT_EQ(again.mix.weight, batch.mix.weight);

  Loader reading(uneven(20), mark, tiny({.batch_size = 8}));
  reading.start(0);
  ASSERT_TRUE(reading.next(batch));
  EXPECT_FALSE(batch.placed());
  EXPECT_EQ(batch.images.size(), 24u);
  EXPECT_TRUE(batch.erased.empty());
  EXPECT_EQ(batch.mix.weight, 1);
}

TEST(Sampler, RefusesToDrawNothing) {
  EXPECT_EQ(error_of(ErrorKind::usage, [] { Sampler({.size = 3, .repeats = 0}); }),
            "sampler: each sample drawn 0 times, but 1 or more is needed");
}

// Sample 3 is never read until the object's end.
class Hanging {
 public:
  DatasetPtr dataset() {
    return fake_dataset({.size = 20, .load = [gate = gate_](int64_t index) {
                           if (index == 3) gate->acquire();
                           return Image{.width = 1, .height = 1, .pixels = {0, 0, 0}};
                         }});
  }
  void release() { gate_->release(100); }
  ~Hanging() { release(); }

 private:
  std::shared_ptr<std::counting_semaphore<>> gate_ = std::make_shared<std::counting_semaphore<>>(0);
};

TEST(LoaderStall, EndsTheRunAndNamesThePicture) {
  Hanging hanging;
  std::vector<std::string> warnings;
  Loader loader(hanging.dataset(), mark,
                tiny({.mode = LoaderMode::evaluate,
                      .batch_size = 2,
                      .workers = 2,
                      .stall_warning = 0.02,
                      .data_timeout = 0.2,
                      .on_stall = [&](const std::string& message) { warnings.push_back(message); }}));
  loader.start(0);
  Batch batch;
  EXPECT_TRUE(loader.next(batch));
  const std::string refusal =
      "picture 3: has not been read for 0.2 s; does its file system hang? --data-timeout sets how long to wait, 0 "
      "for "
      "ever";
  EXPECT_EQ(error_of(ErrorKind::data, [&] { loader.next(batch); }), refusal);
  EXPECT_EQ(error_of(ErrorKind::data, [&] { loader.next(batch); }), refusal);
  EXPECT_THAT(warnings, ElementsAre("picture 3: has not been read for 0.02 s; does its file system hang? The run ends "
                                    "after 0.2 s"));
}  // its worker is left behind

TEST(LoaderStall, IsNoneWhileTheConsumerIsBusyItself) {
  Hanging hanging;
  Loader loader(hanging.dataset(), mark,
                tiny({.mode = LoaderMode::evaluate, .batch_size = 1, .workers = 1, .data_timeout = 0.01}));
  loader.start(0);
  Batch batch;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(loader.next(batch));
    std::this_thread::sleep_for(20ms);
  }
  hanging.release();
}

}  // namespace
}  // namespace engine
