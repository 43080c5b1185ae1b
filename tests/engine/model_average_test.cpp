#include "engine/optim/model_average.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/nn/layers.h"
#include "tests/compare.h"
#include "tests/engine/error_text.h"

namespace engine::testing {
namespace {

// A batch norm: parameters, running statistics and a count.
class Small : public Module {
 public:
  explicit Small(int64_t channels = 3) : norm(channels) { to(test_device()); }
  void visit(ModuleVisitor& visitor) override { visitor.module("norm", norm); }

  void set(double weight, double mean, int64_t count) {
    for (NamedTensor& entry : state()) {
      Tensor tensor = entry.tensor.detach();
      if (tensor.dtype() == DType::i64)
        tensor.mutable_values<int64_t>()[0] = count;
      else
        tensor.copy_from(full_tensor(tensor.shape(), entry.name.find("running") == std::string::npos ? weight : mean));
    }
  }
  double value(const std::string& name) {
    for (const NamedTensor& entry : state())
      if (entry.name == "norm." + name)
        return entry.tensor.dtype() == DType::i64 ? entry.tensor.item() : array_of(entry.tensor.detach())[0];
    ADD_FAILURE() << name;
    return 0;
  }

  BatchNorm2d norm;
};

TEST(ModelAverage, FollowsTheModel) {
  Small model, average;
  model.set(1, 2, 7);
  ModelAverage moving(model, average, 0.75);
  EXPECT_EQ(average.value("weight"), 1) << "at first a copy";
  model.set(5, 6, 8);
  moving.update();
  EXPECT_EQ(average.value("weight"), 5) << "the first update copies, too";
  model.set(9, 10, 9);
  moving.update();
  EXPECT_EQ(average.value("weight"), 6);
  EXPECT_EQ(average.value("running_mean"), 7) << "buffers are averaged, too";
  EXPECT_EQ(average.value("num_batches_tracked"), 9) << "and counts copied";
  EXPECT_EQ(moving.num_updates(), 2);
  EXPECT_EQ(model.value("weight"), 9);
}

TEST(ModelAverage, BeginsAgainAfterARestart) {
  Small model, average;
  ModelAverage moving(model, average, 0.5);
  moving.update();
  moving.restart();
  model.set(3, 4, 1);
  moving.update();
  EXPECT_EQ(average.value("weight"), 3);
}

TEST(ModelAverage, GoesOnFromASavedState) {
  Small model, whole, parts;
  ModelAverage unbroken(model, whole, 0.999), before(model, parts, 0.999);
  const auto update = [&](ModelAverage& average, int step) {
    model.set(std::sin(step), std::cos(step), step);
    average.update();
  };
  for (int step = 0; step < 3; ++step) update(unbroken, step), update(before, step);
  Small resumed;
  ModelAverage after(model, resumed, 0.999);
  const std::vector<NamedTensor> from = parts.state(), to = resumed.state();
  for (size_t i = 0; i < from.size(); ++i) {
    Tensor tensor = to[i].tensor.detach();
    tensor.copy_from(from[i].tensor.detach());
  }
  after.set_num_updates(before.num_updates());
  for (int step = 3; step < 6; ++step) update(unbroken, step), update(after, step);
  EXPECT_EQ(resumed.value("weight"), whole.value("weight"));
  EXPECT_EQ(resumed.value("running_var"), whole.value("running_var"));
}

// A convolution's rounded copies are made anew where the weights have changed.
TEST(ModelAverage, ChangesTheVersionOfWhatItMoves) {
  Small model, average;
  ModelAverage moving(model, average, 0.5);
  const uint64_t before = average.parameters()[0].tensor.storage().version();
  moving.update();
  EXPECT_GT(average.parameters()[0].tensor.storage().version(), before);
}

TEST(ModelAverage, MovesTensorsOfEverySize) {
  for (const int64_t channels : {1, 17, 5000}) {
    Small model(channels), average(channels);
    ModelAverage moving(model, average, 0.75);
    moving.update();
    const Array before = array_of(average.parameters()[0].tensor.detach());
    const Array value = normal_array(channels, DType::f32, 1);
    Tensor weight = model.parameters()[0].tensor.detach();
    weight.copy_from(tensor_of(value, {channels}));
    moving.update();
    Expected expected{Array(value.size()), Array(value.size()), 2};
    for (size_t i = 0; i < value.size(); ++i) {
      expected.value[i] = 0.75 * before[i] + 0.25 * value[i];
      expected.magnitude[i] = 0.75 * std::abs(before[i]) + 0.25 * std::abs(value[i]);
    }
    EXPECT_TRUE(close_to(array_of(average.parameters()[0].tensor.detach()), expected, DType::f32, {channels}));
  }
}

// torchvision's V2 recipe: 600 epochs of 1024 pictures a step.
TEST(ModelAverageDecay, IsTorchvisions) {
  EXPECT_DOUBLE_EQ(model_average_decay(0.99998, 1024, 32, 600), 1 - (1 - 0.99998) * 1024 * 32 / 600);
  EXPECT_EQ(model_average_decay(0.5, 1024, 32, 1), 0) << "no more than all";
}

TEST(ModelAverageErrors, OtherTensors) {
  Small model(3), average(4);
  EXPECT_EQ(error_text([&] { ModelAverage(model, average, 0.5); }),
            "ModelAverage: the model has norm.weight [3], where its average has norm.weight [4]");
  EXPECT_EQ(error_text([&] { ModelAverage(model, model, 2); }), "ModelAverage: decay=2, expected 0 <= decay <= 1");
}

}  // namespace
}  // namespace engine::testing
