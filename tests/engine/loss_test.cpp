#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/ops/loss.h"
#include "tests/engine/error_text.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

// Labels, and the targets that say the same.
struct Labelled {
  std::vector<int64_t> labels;
  Array soft;  // [n,k]

  Labelled(int64_t n, int64_t k) : soft(static_cast<size_t>(n * k)) {
    for (int64_t i = 0; i < n; ++i) {
      labels.push_back(i * 7 % k);
      soft[static_cast<size_t>(i * k + labels.back())] = 1;
    }
  }
};

struct Case {
  const char* name;
  int64_t n, k;
  double smoothing;
  double scale;  // of the logits
};

class SoftmaxLossTest : public ::testing::TestWithParam<std::tuple<Case, DType>> {
 protected:
  void check(const Tensor& target, const Array& soft) const {
    const auto& [c, dtype] = GetParam();
    const Array logits = normal_array(c.n * c.k, dtype, 1, 0, c.scale);
    const Tensor loss = empty_tensor({}), dlogits = empty_tensor({c.n, c.k}, dtype);
    backend(test_device())
        .softmax_cross_entropy(tensor_of(logits, {c.n, c.k}, dtype), target, static_cast<float>(c.smoothing), loss,
                               dlogits);
    const SoftmaxLoss expected(logits, soft, c.n, static_cast<double>(static_cast<float>(c.smoothing)));
    EXPECT_TRUE(close_to(array_of(loss), Expected::elementwise({expected.loss}), DType::f32, {}));
    // softmax - target: the terms, not their difference, carry the rounding.
    Expected gradient = Expected::elementwise(expected.dlogits);
    for (double& s : gradient.magnitude) s += 1.0 / static_cast<double>(c.n);
    EXPECT_TRUE(close_to(array_of(dlogits), gradient, dtype, {c.n, c.k}));
  }
};

TEST_P(SoftmaxLossTest, Labels) {
  const Case& c = std::get<0>(GetParam());
  const Labelled labelled(c.n, c.k);
  check(Tensor::from(labelled.labels, {c.n}, test_device()), labelled.soft);
}

TEST_P(SoftmaxLossTest, SoftTargets) {
  const Case& c = std::get<0>(GetParam());
  Array soft = normal_array(c.n * c.k, DType::f32, 2);
  for (double& t : soft) t = rounded(std::abs(t) / static_cast<double>(c.k), DType::f32);  // sums near 1, not 1
  check(tensor_of(soft, {c.n, c.k}), soft);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, SoftmaxLossTest,
    ::testing::Combine(::testing::Values(Case{"cifar", 16, 10, 0, 1}, Case{"smoothed", 8, 1000, 0.1, 3},
                                         Case{"large_logits", 4, 5, 0, 200}, Case{"one", 1, 2, 0.2, 1}),
                       ::testing::ValuesIn(activation_types())),
    [](const auto& instance) {
      return std::string(std::get<0>(instance.param).name) + "_" + name_of(std::get<1>(instance.param));
    });

struct BinaryCase {
  const char* name;
  int64_t n, k;
  float smoothing;
  std::optional<float> threshold;
  bool sum_classes;
  double scale;  // of the logits
};

class BinaryLossTest : public ::testing::TestWithParam<std::tuple<BinaryCase, DType>> {
 protected:
  void check(const Tensor& target, const Array& soft) const {
    const auto& [c, dtype] = GetParam();
    const Array logits = normal_array(c.n * c.k, dtype, 1, 0, c.scale);
    const Tensor loss = empty_tensor({}), dlogits = empty_tensor({c.n, c.k}, dtype);
    backend(test_device())
        .binary_cross_entropy(tensor_of(logits, {c.n, c.k}, dtype), target,
                              {.label_smoothing = c.smoothing, .threshold = c.threshold, .sum_classes = c.sum_classes},
                              loss, dlogits);
    const BinaryLoss expected(logits, binary_targets(soft, c.k, c.smoothing, c.threshold), c.n, c.sum_classes);
    EXPECT_TRUE(close_to(array_of(loss), {{expected.loss}, {expected.magnitude}, c.k}, DType::f32, {}));
    Expected gradient = Expected::elementwise(expected.dlogits);
    for (double& s : gradient.magnitude) s += 2.0 / static_cast<double>(c.sum_classes ? c.n : c.n * c.k);
    EXPECT_TRUE(close_to(array_of(dlogits), gradient, dtype, {c.n, c.k}));
  }
};

TEST_P(BinaryLossTest, Labels) {
  const BinaryCase& c = std::get<0>(GetParam());
  const Labelled labelled(c.n, c.k);
  check(Tensor::from(labelled.labels, {c.n}, test_device()), labelled.soft);
}

TEST_P(BinaryLossTest, SoftTargets) {
  const BinaryCase& c = std::get<0>(GetParam());
  Array soft = normal_array(c.n * c.k, DType::f32, 2);
  for (double& t : soft) t = rounded(std::min(1.0, std::abs(t) / 2), DType::f32);
  check(tensor_of(soft, {c.n, c.k}), soft);
}

INSTANTIATE_TEST_SUITE_P(Shapes, BinaryLossTest,
                         ::testing::Combine(::testing::Values(BinaryCase{"mean", 16, 10, 0, {}, false, 1},
                                                              BinaryCase{"sum", 8, 1000, 0.1f, {}, true, 3},
                                                              BinaryCase{"threshold", 7, 33, 0.1f, 0.2f, true, 1},
                                                              BinaryCase{"large_logits", 4, 5, 0, {}, false, 200},
                                                              BinaryCase{"one", 1, 2, 0.2f, 0.0f, false, 1}),
                                            ::testing::ValuesIn(activation_types())),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param));
                         });

// Two classes mixed half and half are both asked for: targets 1 where the soft ones lie above 0.2.
TEST(BinaryLoss, ATargetAboveTheThresholdCountsAsOne) {
  const Tensor logits = full_tensor({1, 4}, 0).set_requires_grad(true);
  const Tensor mixed = Tensor::from(std::vector<float>{0.5f, 0, 0.5f, 0.2f}, {1, 4}, test_device());
  binary_cross_entropy(logits, mixed, {.threshold = 0.2f, .sum_classes = true}).backward();
  EXPECT_EQ(logits.grad().to_vector<float>(), (std::vector<float>{-0.5f, 0.5f, -0.5f, 0.5f}));
}

TEST(BinaryLoss, ShowsANotANumber) {
  const Tensor logits = Tensor::from(std::vector<float>{1, std::nanf(""), 3}, {1, 3}, test_device());
  EXPECT_TRUE(
      std::isnan(binary_cross_entropy(logits, Tensor::from(std::vector<int64_t>{0}, {1}, test_device())).item()));
}

TEST(BinaryLoss, SaysWhatItExpects) {
  const Tensor logits = full_tensor({2, 3}, 0);
  EXPECT_EQ(
      error_text([&] {
        binary_cross_entropy(logits, full_tensor({3, 2}, 0));
      }),
      "binary_cross_entropy: probabilities have shape [3,2] of f32, expected [2,3] of f32 (or labels [N] of i64)");
  EXPECT_EQ(error_text([&] {
              binary_cross_entropy(logits, full_tensor({2, 3}, 0), {.label_smoothing = 2});
            }),
            "binary_cross_entropy: label_smoothing=2, expected 0 to 1");
}

TEST(SoftmaxLoss, NeedsNoGradient) {
  const Tensor loss = empty_tensor({});
  backend(test_device())
      .softmax_cross_entropy(full_tensor({4, 10}, 0),
                             Tensor::from(std::vector<int64_t>{0, 1, 2, 3}, {4}, test_device()), 0, loss, {});
  EXPECT_FLOAT_EQ(static_cast<float>(loss.item()), std::log(10.0f));
}

TEST(SoftmaxLoss, ShowsANotANumber) {
  const Tensor loss = empty_tensor({});
  const Tensor logits = Tensor::from(std::vector<float>{1, std::nanf(""), 3}, {1, 3}, test_device());
  backend(test_device())
      .softmax_cross_entropy(logits, Tensor::from(std::vector<int64_t>{0}, {1}, test_device()), 0, loss, {});
  EXPECT_TRUE(std::isnan(loss.item()));
}

}  // namespace
}  // namespace engine::testing
