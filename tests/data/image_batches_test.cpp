#include "engine/data/image_batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "engine/data/batch_tensors.h"
#include "engine/data/image_folder.h"
#include "tests/data/data_testing.h"

namespace {

using namespace engine;
using namespace engine::test;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

// Ten pictures of one pixel, the i-th red by 20 * i, of class i % 2.
DatasetPtr ten_pictures() {
  return fake_dataset({.load = [](int64_t index) {
    return Image{.width = 1, .height = 1, .pixels = {static_cast<uint8_t>(20 * index), 0, 0}};
  }});
}

ImageBatchOptions tiny(LoaderMode mode) {
  return {.batch_size = 4,
          .mode = mode,
          .size = 1,
          .normalization = {{0, 0, 0}, {1, 1, 1}},
          .transform = sample_transform(EvalTransform{.resize = 0, .size = 1}),
          .workers = 0};
}

struct Epoch {
  std::vector<int64_t> sizes, labels;
  std::vector<int> red;
};
Epoch walk(ImageBatches& batches) {
  Epoch epoch;
  for (auto& [images, labels] : batches) {
    epoch.sizes.push_back(images.size(0));
    for (const int64_t label : labels.to_vector<int64_t>()) epoch.labels.push_back(label);
    const std::vector<float> values = images.to(DType::f32).to_vector<float>();
    for (size_t i = 0; i < values.size(); i += 3) epoch.red.push_back(static_cast<int>(values[i] * 255 + 0.5f));
  }
  return epoch;
}

TEST(ImageBatches, EvaluatesEveryPictureOnceInOrder) {
  ImageBatches batches(ten_pictures(), tiny(LoaderMode::evaluate));
  for (int i = 0; i < 2; ++i) {
    const Epoch epoch = walk(batches);
    EXPECT_THAT(epoch.sizes, ElementsAre(4, 4, 2));
    EXPECT_THAT(epoch.labels, ElementsAre(0, 1, 0, 1, 0, 1, 0, 1, 0, 1));
    EXPECT_THAT(epoch.red, ElementsAre(0, 20, 40, 60, 80, 100, 120, 140, 160, 180));
  }
  EXPECT_EQ(batches.size(), 10);
  EXPECT_EQ(batches.num_classes(), 2);
  EXPECT_EQ(batches.batches_per_epoch(), 3);
}

TEST(ImageBatches, EachEpochHasItsOwnOrder) {
  ImageBatches batches(ten_pictures(), tiny(LoaderMode::train));
  const Epoch first = walk(batches), second = walk(batches);
  EXPECT_NE(first.red, second.red);
  std::vector<int> sorted = second.red;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_THAT(sorted, ElementsAre(0, 20, 40, 60, 80, 100, 120, 140, 160, 180));
  for (size_t i = 0; i < second.red.size(); ++i) EXPECT_EQ(second.labels[i], second.red[i] / 20 % 2);

  ImageBatches resumed(ten_pictures(), tiny(LoaderMode::train));
  resumed.set_epoch(1);
  EXPECT_EQ(walk(resumed).red, second.red);
}

TEST(ImageBatches, AnEpochMayBeLeftEarly) {
  ImageBatches batches(ten_pictures(), tiny(LoaderMode::evaluate));
  for (auto& [images, labels] : batches) {
    EXPECT_EQ(images.size(0), labels.size(0));
    break;
  }
  EXPECT_EQ(walk(batches).labels.size(), 10u);
}

TEST(ImageFolder, GivesTheNetWhatTheRecipesGiveIt) {
  const TemporaryDirectory folder;
  for (int i = 0; i < 4; ++i) {
    const auto shade = static_cast<uint8_t>(60 * i);
    write_file(folder.path() / (i < 2 ? "ants" : "bees") / (std::to_string(i) + ".png"),
               solid_png(40, 30, shade, 100, 200));
  }
  const ImageBatchOptions options = {
      .batch_size = 4, .mode = LoaderMode::evaluate, .size = 28, .dtype = DType::bf16, .workers = 1};
  ImageFolder data(folder.path().string(), options);
  EXPECT_THAT(data.dataset().class_names(), ElementsAre("ants", "bees"));
  for (auto& [images, labels] : data) {
    EXPECT_EQ(images.shape(), (Shape{4, 28, 28, 3}));
    EXPECT_EQ(images.dtype(), DType::bf16);
    EXPECT_THAT(labels.to_vector<int64_t>(), ElementsAre(0, 0, 1, 1));

    Loader loader(open_image_folder(folder.path().string()), sample_transform(EvalTransform{.resize = 32, .size = 28}),
                  {.mode = LoaderMode::evaluate, .batch_size = 4, .height = 28, .width = 28, .workers = 0});
    loader.start(0);
    Batch batch;
    ASSERT_TRUE(loader.next(batch));
    EXPECT_THAT(
        images.to(DType::f32).to_vector<float>(),
        ElementsAreArray(
            image_tensor(batch, kImageNetNormalization, {.dtype = DType::bf16}).to(DType::f32).to_vector<float>()));
  }
}

}  // namespace
