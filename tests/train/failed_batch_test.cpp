#include "engine/train/failed_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/nn/layers.h"
#include "engine/nn/weights.h"
#include "engine/train/loss_scaler.h"
#include "tests/engine/error_text.h"
#include "tests/io/io_testing.h"

namespace engine::testing {
namespace {

using ::testing::HasSubstr;

Linear blank() {
  Linear net(3, 4);
  for (NamedTensor& tensor : net.state()) tensor.tensor.copy_from(Tensor::full(tensor.tensor.shape(), 0.5));
  return net;
}

TEST(FailedBatch, SurvivesItsFile) {
  engine::test::TemporaryDirectory folder;
  Linear net = blank();
  const FailedBatch batch = {.images = Tensor::full({2, 3, 4, 3}, 0.5, {DType::bf16}),
                             .target = Tensor::from(std::vector<int64_t>{1, 2}, {2}),
                             .indices = {7, 9},
                             .step = 12,
                             .lr = 0.1,
                             .loss_scale = 0.25,
                             .reason = "the loss is NaN",
                             .config = "{}"};
  const auto path = folder.path() / kFailedBatchFile;
  write_failed_batch(path, batch, net);
  const FailedBatchFile file(path);
  EXPECT_EQ(file.batch().images.to_vector<float>(), std::vector<float>(72, 0.5f));
  EXPECT_EQ(file.batch().images.shape(), batch.images.shape());
  EXPECT_EQ(file.batch().target.to_vector<int64_t>(), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(file.batch().indices, batch.indices);
  EXPECT_EQ(file.batch().step, 12);
  EXPECT_EQ(file.batch().lr, 0.1);
  EXPECT_EQ(file.batch().loss_scale, 0.25);
  EXPECT_EQ(file.batch().reason, batch.reason);
  Linear other(3, 4);
  for (NamedTensor& tensor : other.state()) tensor.tensor.copy_from(Tensor::zeros(tensor.tensor.shape()));
  file.load_state(other);
  for (size_t i = 0; i < net.state().size(); ++i)
    EXPECT_EQ(other.state()[i].tensor.to(DType::f32).to_vector<float>(),
              net.state()[i].tensor.to(DType::f32).to_vector<float>());
  BatchNorm2d norm(4);
  EXPECT_THAT(error_text([&] { file.load_state(norm); }, ErrorKind::checkpoint),
              HasSubstr("model.weight has shape [4,3], expected [4]"));
}

TEST(FailedBatch, RefusesOtherFiles) {
  engine::test::TemporaryDirectory folder;
  Linear net = blank();
  save_safetensors(folder.path() / "weights.safetensors", net);
  EXPECT_THAT(error_text([&] { FailedBatchFile(folder.path() / "weights.safetensors"); }, ErrorKind::checkpoint),
              HasSubstr("has the format 'pt', expected engine-failed-batch-1"));
}

TEST(LossScale, GrowsAfterEnoughStepsAndStaysFinite) {
  LossScale scale = {.scale = 1024, .good_steps = kScaleGrowthInterval - 2, .overflows = 3};
  scale = next_loss_scale(scale, true);
  EXPECT_EQ(scale, (LossScale{.scale = 1024, .good_steps = kScaleGrowthInterval - 1, .overflows = 0}));
  scale = next_loss_scale(scale, true);
  EXPECT_EQ(scale, (LossScale{.scale = 2048, .good_steps = 0, .overflows = 0}));
  const LossScale largest = {.scale = 0x1p127, .good_steps = kScaleGrowthInterval - 1};
  EXPECT_EQ(next_loss_scale(largest, true).scale, 0x1p127);
}

}  // namespace
}  // namespace engine::testing
