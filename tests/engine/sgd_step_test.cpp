// The update rule against PyTorch's, written out in double precision.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/backend.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

struct Case {
  const char* name;
  float momentum, weight_decay;
  bool nesterov;
};

class SgdStepTest : public ::testing::TestWithParam<Case> {};

TEST_P(SgdStepTest, FollowsTheRule) {
  const Case& c = GetParam();
  for (const int64_t count : {int64_t{1}, int64_t{17}, int64_t{40'000}}) {
    const Array p = normal_array(count, DType::f32, 1), g = normal_array(count, DType::f32, 2);
    const Array m = normal_array(count, DType::f32, 3);
    const float lr = 0.1f;
    Expected moved{Array(p.size()), Array(p.size()), 3}, kept = moved;
    for (size_t i = 0; i < p.size(); ++i) {
      const double d = g[i] + double{c.weight_decay} * p[i];
      const double buffer = double{c.momentum} * m[i] + d;
      const double step = c.momentum == 0 ? d : (c.nesterov ? d + double{c.momentum} * buffer : buffer);
      kept.value[i] = buffer;
      kept.magnitude[i] = std::abs(g[i]) + std::abs(p[i]) + std::abs(m[i]);
      moved.value[i] = p[i] - double{lr} * step;
      moved.magnitude[i] = std::abs(p[i]) + double{lr} * 2 * kept.magnitude[i];
    }
    const OptimizerParameter parameter = {.parameter = tensor_of(p, {count}),
                                          .grad = tensor_of(g, {count}),
                                          .momentum = c.momentum == 0 ? Tensor{} : tensor_of(m, {count}),
                                          .weight_decay = c.weight_decay};
    backend(test_device())
        .optimizer_step(std::vector{parameter}, {.lr = lr, .momentum = c.momentum, .nesterov = c.nesterov});
    EXPECT_TRUE(close_to(array_of(parameter.parameter), moved, DType::f32, {count}));
    if (c.momentum != 0) {
      EXPECT_TRUE(close_to(array_of(parameter.momentum), kept, DType::f32, {count}));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, SgdStepTest,
                         ::testing::Values(Case{"plain", 0, 0, false}, Case{"decay", 0, 0.01f, false},
                                           Case{"momentum", 0.9f, 0, false}, Case{"both", 0.9f, 0.01f, false},
                                           Case{"nesterov", 0.9f, 0.01f, true}),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(SgdStep, GivesEachParameterItsOwnDecay) {
  const OptimizerParameter decayed = {
      .parameter = full_tensor({3}, 1), .grad = full_tensor({3}, 0), .momentum = {}, .weight_decay = 0.5f};
  const OptimizerParameter other = {
      .parameter = full_tensor({2, 2}, 1), .grad = full_tensor({2, 2}, 0), .momentum = {}, .weight_decay = 0};
  backend(test_device()).optimizer_step(std::vector{decayed, other}, {.lr = 0.5f});
  EXPECT_EQ(array_of(decayed.parameter), Array(3, 0.75));
  EXPECT_EQ(array_of(other.parameter), Array(4, 1.0));
}

TEST(SgdStep, ReadsTheRateAndTheCheckOnTheDevice) {
  const OptimizerParameter parameter = {
      .parameter = full_tensor({3}, 1), .grad = full_tensor({3}, 1), .momentum = full_tensor({3}, 2)};
  const Tensor lr = full_tensor({}, 0.25), found = Tensor::full({}, 1, {DType::i64, test_device()});
  const OptimizerStep step = {.lr = 9, .momentum = 0.5f, .device_lr = lr, .found = found};
  backend(test_device()).optimizer_step(std::vector{parameter}, step);
  EXPECT_EQ(array_of(parameter.parameter), Array(3, 1.0)) << "something is not finite";
  EXPECT_EQ(array_of(parameter.momentum), Array(3, 2.0));
  Tensor(found).copy_from(Tensor::zeros({}, {DType::i64, test_device()}));
  backend(test_device()).optimizer_step(std::vector{parameter}, step);
  EXPECT_EQ(array_of(parameter.parameter), Array(3, 0.5));
  EXPECT_EQ(array_of(parameter.momentum), Array(3, 2.0));
}

}  // namespace
}  // namespace engine::testing
