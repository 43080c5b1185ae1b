// The losses against double precision.
#include "kernels/loss.h"

#include <cmath>
#include <optional>
#include <string>

#include "tests/kernels/guarded.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

using namespace kernels;

struct Case {
  const char* name;
  int64_t n, k;
  float smoothing;
  double scale;  // of the logits
};

const Case kCases[] = {{"cifar", 16, 10, 0, 1},          {"imagenet", 9, 1000, 0.1f, 3}, {"large_logits", 4, 5, 0, 100},
                       {"one_class", 3, 1, 0, 1},        {"two_classes", 1, 2, 0.2f, 1}, {"warp", 33, 32, 0.1f, 1},
                       {"more_than_a_warp", 2, 33, 0, 1}};

class LossTest : public ::testing::TestWithParam<std::tuple<Case, DataType, bool>> {};

TEST_P(LossTest, LossAndGradient) {
  const auto& [c, type, soft] = GetParam();
  const int64_t count = c.n * c.k;
  const Array logits = normal_array(count, dtype_of(type), 1, 0, c.scale);
  Array targets = normal_array(count, DType::f32, 2);
  for (double& t : targets) t = rounded(std::abs(t) / static_cast<double>(c.k), DType::f32);  // sums near 1, not 1
  std::vector<int64_t> labels(static_cast<size_t>(c.n));
  if (!soft) {
    targets.assign(targets.size(), 0);
    for (int64_t i = 0; i < c.n; ++i) {
      labels[static_cast<size_t>(i)] = i * 7 % c.k;
      targets[static_cast<size_t>(i * c.k + i * 7 % c.k)] = 1;
    }
  }
  const SoftmaxLoss expected(logits, targets, c.n, static_cast<double>(c.smoothing));

  const Guarded on_logits(type, logits), on_targets = floats_of(targets), dlogits(type, count), loss = floats(1);
  const DeviceBuffer<int64_t> on_labels(labels);
  const Guarded workspace = floats(static_cast<int64_t>(softmax_cross_entropy_workspace(c.n) / sizeof(float)));
  SoftmaxCrossEntropy args = {.n = c.n,
                              .k = c.k,
                              .type = type,
                              .logits = on_logits.data(),
                              .labels = soft ? nullptr : on_labels.data(),
                              .probabilities = soft ? on_targets.floats() : nullptr,
                              .label_smoothing = c.smoothing,
                              .loss = loss.floats(),
                              .dlogits = dlogits.data(),
                              .workspace = workspace.data()};
  ASSERT_TRUE(softmax_cross_entropy(args, nullptr));
  // log sum - z: the terms, not their difference, carry the rounding.
  Expected expected_loss = Expected::elementwise({expected.loss});
  expected_loss.terms = c.k;
  for (const double z : logits) expected_loss.magnitude[0] = std::max(expected_loss.magnitude[0], std::abs(z));
  EXPECT_TRUE(close_to(loss.values(), expected_loss, DType::f32, {}));
  // softmax - target, too; and the softmax that of a sum of K terms.
  Expected gradient = Expected::elementwise(expected.dlogits);
  gradient.terms = c.k;
  for (double& s : gradient.magnitude) s += 1.0 / static_cast<double>(c.n);
  EXPECT_TRUE(close_to(dlogits.values(), gradient, dtype_of(type), {c.n, c.k}));

  const Array first_loss = loss.values();
  args.dlogits = on_logits.data();
  ASSERT_TRUE(softmax_cross_entropy(args, nullptr));
  EXPECT_EQ(on_logits.values(), dlogits.values()) << "in place";
  EXPECT_EQ(loss.values(), first_loss);
}

INSTANTIATE_TEST_SUITE_P(Cases, LossTest,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(kDataTypes),
                                            ::testing::Bool()),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param)) +
                                  (std::get<2>(instance.param) ? "_probabilities" : "_labels");
                         });

struct BinaryCase {
  const char* name;
  int64_t n, k;
  float smoothing;
  std::optional<float> threshold;
  bool sum_classes;
  double scale;  // of the logits
};

const BinaryCase kBinaryCases[] = {{"mean", 16, 10, 0, {}, false, 1},
                                   {"sum", 9, 1000, 0.1f, {}, true, 3},
                                   {"threshold", 5, 33, 0.1f, 0.2f, true, 1},
                                   {"large_logits", 4, 5, 0, {}, false, 100},
                                   {"one_class", 3, 1, 0, 0.5f, false, 1}};

class BinaryLossTest : public ::testing::TestWithParam<std::tuple<BinaryCase, DataType, bool>> {};

TEST_P(BinaryLossTest, LossAndGradient) {
  const auto& [c, type, soft] = GetParam();
  const int64_t count = c.n * c.k;
  const Array logits = normal_array(count, dtype_of(type), 1, 0, c.scale);
  Array targets = normal_array(count, DType::f32, 2);
  for (double& t : targets) t = rounded(std::min(1.0, std::abs(t) / 2), DType::f32);
  std::vector<int64_t> labels(static_cast<size_t>(c.n));
  if (!soft) {
    targets.assign(targets.size(), 0);
    for (int64_t i = 0; i < c.n; ++i) {
      labels[static_cast<size_t>(i)] = i * 7 % c.k;
      targets[static_cast<size_t>(i * c.k + i * 7 % c.k)] = 1;
    }
  }
  const BinaryLoss expected(logits, binary_targets(targets, c.k, c.smoothing, c.threshold), c.n, c.sum_classes);

  const Guarded on_logits(type, logits), on_targets = floats_of(targets), dlogits(type, count), loss = floats(1);
  const DeviceBuffer<int64_t> on_labels(labels);
  const Guarded workspace = floats(static_cast<int64_t>(softmax_cross_entropy_workspace(c.n) / sizeof(float)));
  BinaryCrossEntropy args = {.n = c.n,
                             .k = c.k,
                             .type = type,
                             .logits = on_logits.data(),
                             .labels = soft ? nullptr : on_labels.data(),
                             .probabilities = soft ? on_targets.floats() : nullptr,
                             .label_smoothing = c.smoothing,
                             .binary = c.threshold.has_value(),
                             .threshold = c.threshold.value_or(0),
                             .sum_classes = c.sum_classes,
                             .loss = loss.floats(),
                             .dlogits = dlogits.data(),
                             .workspace = workspace.data()};
  ASSERT_TRUE(binary_cross_entropy(args, nullptr));
  EXPECT_TRUE(close_to(loss.values(), {{expected.loss}, {expected.magnitude}, c.k}, DType::f32, {}));
  Expected gradient = Expected::elementwise(expected.dlogits);
  for (double& s : gradient.magnitude) s += 2.0 / static_cast<double>(c.sum_classes ? c.n : count);
  EXPECT_TRUE(close_to(dlogits.values(), gradient, dtype_of(type), {c.n, c.k}));

  args.dlogits = on_logits.data();
  ASSERT_TRUE(binary_cross_entropy(args, nullptr));
  EXPECT_EQ(on_logits.values(), dlogits.values()) << "in place";
}

INSTANTIATE_TEST_SUITE_P(Cases, BinaryLossTest,
                         ::testing::Combine(::testing::ValuesIn(kBinaryCases), ::testing::ValuesIn(kDataTypes),
                                            ::testing::Bool()),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param)) +
                                  (std::get<2>(instance.param) ? "_probabilities" : "_labels");
                         });

TEST(BinaryLoss, RefusesTwoTargetsOrNone) {
  const Guarded x = floats(4), loss = floats(1), workspace = floats(1);
  EXPECT_FALSE(binary_cross_entropy(
      {.n = 1, .k = 4, .logits = x.data(), .loss = loss.floats(), .workspace = workspace.data()}, nullptr));
  EXPECT_TRUE(std::isnan(loss.values()[0])) << "nothing was launched";
}

TEST(BinaryLoss, CountsItsCost) {
  const int64_t label = 0;
  char dlogits = 0;
  EXPECT_EQ(
      binary_cross_entropy_cost({.n = 2, .k = 10, .type = DataType::bf16, .labels = &label, .dlogits = &dlogits}).bytes,
      2 * 40 + 16);
}

class SoftmaxTest : public ::testing::Test {
 protected:
  // The loss of one row with label 0.
  double loss_of(const Array& logits, int64_t label = 0) {
    const Guarded on_logits = floats_of(logits), loss = floats(1), workspace = floats(1);
    const DeviceBuffer<int64_t> labels(std::vector<int64_t>{label});
    EXPECT_TRUE(softmax_cross_entropy({.n = 1,
                                       .k = static_cast<int64_t>(logits.size()),
                                       .logits = on_logits.data(),
                                       .labels = labels.data(),
                                       .loss = loss.floats(),
                                       .workspace = workspace.data()},
                                      nullptr));
    return loss.values()[0];
  }
};

// More rows than the largest grid has warps.
TEST_F(SoftmaxTest, WalksLargeBatches) {
  const int64_t n = kMostThreads / 64 + 5;
  const Guarded logits = floats_of(Array(static_cast<size_t>(2 * n))), dlogits = floats(2 * n), loss = floats(1);
  const Guarded workspace = floats(n);
  const DeviceBuffer<int64_t> labels(std::vector<int64_t>(static_cast<size_t>(n), 1));
  ASSERT_TRUE(softmax_cross_entropy({.n = n,
                                     .k = 2,
                                     .logits = logits.data(),
                                     .labels = labels.data(),
                                     .loss = loss.floats(),
                                     .dlogits = dlogits.data(),
                                     .workspace = workspace.data()},
                                    nullptr));
  EXPECT_FLOAT_EQ(static_cast<float>(loss.values()[0]), std::log(2.0f));
  const auto each = static_cast<double>(0.5f * (1.0f / static_cast<float>(n)));
  const Array gradient = dlogits.values();
  for (size_t i = 0; i < gradient.size(); ++i) ASSERT_EQ(gradient[i], i % 2 ? -each : each) << i;
}

TEST_F(SoftmaxTest, NeedsNoGradient) {
  EXPECT_FLOAT_EQ(static_cast<float>(loss_of(Array(10, 3.0))), std::log(10.0f));
}

TEST_F(SoftmaxTest, ShowsANotANumber) {
  EXPECT_TRUE(std::isnan(loss_of({1, std::nan(""), 3})));
  EXPECT_TRUE(std::isnan(loss_of({1, std::nan(""), 3}, 99))) << "whatever the label is";
}

TEST_F(SoftmaxTest, TakesImpossibleClasses) {
  EXPECT_EQ(loss_of({5, -INFINITY, -INFINITY}), 0);
}

TEST_F(SoftmaxTest, IgnoresALabelOutOfRange) {
  EXPECT_EQ(loss_of({1, 2, 3}, 3), 0);
  EXPECT_EQ(loss_of({1, 2, 3}, -1), 0);
}

TEST_F(SoftmaxTest, RefusesTwoTargetsOrNone) {
  const Guarded x = floats(4), loss = floats(1), workspace = floats(1);
  const DeviceBuffer<int64_t> labels(1);
  SoftmaxCrossEntropy args = {.n = 1,
                              .k = 4,
                              .logits = x.data(),
                              .labels = labels.data(),
                              .probabilities = x.floats(),
                              .loss = loss.floats(),
                              .workspace = workspace.data()};
  EXPECT_FALSE(softmax_cross_entropy(args, nullptr));
  args.labels = nullptr, args.probabilities = nullptr;
  EXPECT_FALSE(softmax_cross_entropy(args, nullptr));
  EXPECT_TRUE(std::isnan(loss.values()[0])) << "nothing was launched";
}

TEST_F(SoftmaxTest, CountsItsCost) {
  const int64_t label = 0;
  const float probability = 0;
  char dlogits = 0;
  EXPECT_EQ(softmax_cross_entropy_cost({.n = 2, .k = 10, .type = DataType::bf16, .labels = &label, .dlogits = &dlogits})
                .bytes,
            2 * 40 + 16);
  EXPECT_EQ(softmax_cross_entropy_cost({.n = 2, .k = 10, .probabilities = &probability}).bytes, 160);
}

}  // namespace
}  // namespace engine::testing
