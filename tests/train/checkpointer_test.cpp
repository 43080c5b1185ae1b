#include "engine/train/checkpointer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "engine/io/checkpoint.h"
#include "engine/nn/layers.h"
#include "engine/optim/sgd.h"
#include "tests/engine/error_text.h"
#include "tests/io/io_testing.h"

namespace engine::testing {
namespace {

using ::testing::HasSubstr;

SavedState saved_after(int64_t step) {
  SavedState saved;
  saved.state.step = step;
  saved.config = saved.schedule = "{}";
  return saved;
}

// Also where the disk may fail and the training goes on: nothing good can come of such weights.
TEST(Checkpointer, SavesNothingThatIsNotFinite) {
  const engine::test::TemporaryDirectory folder;
  Linear net(2, 3);
  for (NamedTensor& tensor : net.state()) tensor.tensor.copy_from(Tensor::zeros(tensor.tensor.shape()));
  Sgd sgd(net.parameters(), {});
  Checkpointer checkpointer(folder.path(), {});
  ASSERT_TRUE(checkpointer.save(net, sgd, saved_after(1)));
  net.weight.mutable_values<float>()[5] = -std::numeric_limits<float>::infinity();
  EXPECT_THAT(error_text([&] { checkpointer.save(net, sgd, saved_after(2)); }, ErrorKind::diverged),
              HasSubstr("checkpoint: weight is not finite after step 2; nothing was saved"));
  EXPECT_EQ(newest_valid_checkpoint(folder.path() / "checkpoints").step, 1);
}

TEST(CheckFinite, NamesTheFirstTensorUnlessAllowed) {
  Linear net(2, 3);
  for (NamedTensor& tensor : net.state()) tensor.tensor.copy_from(Tensor::zeros(tensor.tensor.shape()));
  check_finite(net.state(), "--weights", false);
  net.bias.mutable_values<float>()[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(error_text([&] { check_finite(net.state(), "--weights", false); }, ErrorKind::diverged),
            "--weights: bias is not finite, so nothing can be learnt from it; take another checkpoint, or "
            "--allow-nonfinite");
  check_finite(net.state(), "--weights", true);
}

}  // namespace
}  // namespace engine::testing
