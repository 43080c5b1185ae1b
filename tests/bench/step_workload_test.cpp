#include "bench/step_workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "engine/io/safetensors.h"
#include "tests/device.h"

namespace engine::bench {
namespace {

using engine::testing::test_device;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

WorkloadOptions small_step(int64_t rotating_batches) {
  return {.model = "resnet20",
          .batch = 2,
          .image_size = 8,
          .device = test_device(),
          .rotating_batches = rotating_batches,
          .lr = 0};  // so that a batch has the same loss whenever it comes
}

std::vector<double> losses(Workload& work, int steps) {
  std::vector<double> result;
  for (int i = 0; i < steps; ++i) result.push_back(work.step().item());
  return result;
}

std::set<std::string> exchanged(Workload& work) {
  const auto folder = std::filesystem::temp_directory_path() / ("engine-exchange-" + std::to_string(getpid()));
  work.write_exchange(folder);
  const SafetensorsFile file = SafetensorsFile::open(folder / "batch.safetensors");
  std::filesystem::remove_all(folder);
  std::set<std::string> entries;
  for (const TensorView& view : file.entries()) {
    std::string text = view.name + (view.dtype == SafetensorsDType::u8    ? " u8"
                                    : view.dtype == SafetensorsDType::f32 ? " f32"
                                                                          : " i64");
    for (const int64_t extent : view.shape) text += " " + std::to_string(extent);
    entries.insert(text);
  }
  return entries;
}

// Four steps and more, so that recorded ones are among them.
TEST(RotatingBatches, ComeInTurn) {
  Workload work(small_step(2));
  const std::vector<double> found = losses(work, 6);
  EXPECT_NE(found[0], found[1]);
  EXPECT_THAT(found, ElementsAre(found[0], found[1], found[0], found[1], found[0], found[1]));
}

TEST(OneBatch, StaysTheSame) {
  Workload work(small_step(0));
  const std::vector<double> found = losses(work, 4);
  EXPECT_THAT(found, ElementsAre(found[0], found[0], found[0], found[0]));
}

TEST(Exchange, HasEveryRotatingBatch) {
  Workload work(small_step(2));
  EXPECT_THAT(exchanged(work),
              UnorderedElementsAre("images.0 u8 2 8 8 3", "images.1 u8 2 8 8 3", "labels.0 i64 2", "labels.1 i64 2"));
}

TEST(Exchange, HasTheOneBatchInPyTorchsOrder) {
  Workload work(small_step(0));
  EXPECT_THAT(exchanged(work), UnorderedElementsAre("images f32 2 3 8 8", "labels i64 2"));
}

}  // namespace
}  // namespace engine::bench
