// Whole nets on the tested device against the CPU: twenty steps of resnet20, its losses and at the end every gradient.
//
// Two correct devices add in different orders, and training carries the differences on. How far is measured, not
// guessed: the CPU trains again with every parameter moved by half a unit roundoff of the tested type, up or down by
// chance, several times. The device may be kMargin (parity.h) times as far from the CPU as the farthest of those.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/cpu/backend.h"
#include "engine/ops/loss.h"
#include "engine/optim/sgd.h"
#include "models/resnet.h"
#include "tests/compare.h"
#include "tests/models/parity.h"

namespace {

using namespace engine;
using engine::testing::eps_of;
using engine::testing::test_device;

constexpr int kSteps = 20;
constexpr int64_t kBatch = 8, kSize = 16;
constexpr int kDisturbed = 3;

struct Course {
  std::vector<double> losses;
  std::vector<std::vector<double>> gradients;  // of the last step
  std::vector<std::string> names;
};

// `seed` 0: undisturbed.
Course train(Device device, DType precision, int seed) {
  models::ResNet net(models::find_specification("resnet20"), {.num_classes = 10, .initialize = false});
  parity::set_values(net);
  if (seed > 0) {
    for (auto& [name, parameter, kind] : net.parameters()) {
      const parity::Numbers numbers(name + std::to_string(seed));
      std::span<float> values = parameter.mutable_values<float>();
      for (size_t i = 0; i < values.size(); ++i)
        values[i] *= 1 + static_cast<float>((numbers.bits(i) & 1 ? 0.5 : -0.5) * std::max(eps_of(precision), 0x1p-23));
    }
  }
  net.to(device);
  Sgd sgd(net.parameters(), {.lr = 0.05f, .momentum = 0.9f, .weight_decay = 1e-4f});
  Course course;
  for (int step = 0; step < kSteps; ++step) {
    const Tensor x = parity::images(step % 4, kBatch, kSize).to(device).to(precision);
    const Tensor loss = cross_entropy(net(x), parity::labels(step % 4, kBatch).to(device));
    course.losses.push_back(loss.item());
    loss.backward();
    if (step + 1 == kSteps) {
      for (const auto& [name, parameter, kind] : net.parameters()) {
        course.names.push_back(name);
        course.gradients.push_back(parity::values_of(parameter.grad().to(Device{})));
      }
    }
    sgd.step();
  }
  return course;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double square = 0;
  for (size_t i = 0; i < a.size(); ++i) square += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(square);
}

double norm(const std::vector<double>& a) {
  return distance(a, std::vector<double>(a.size()));
}

class DeviceParity : public ::testing::TestWithParam<DType> {};

TEST_P(DeviceParity, TwentyStepsOfResnet20) {
  if (engine::testing::on_cpu()) GTEST_SKIP() << "the cpu is what it is compared with";
  if (GetParam() == DType::bf16 && !cpu::supports_bf16()) GTEST_SKIP() << "this processor has no bf16 instructions";
  const parity::Reproducible reproducible;
  const Course expected = train({}, GetParam(), 0), actual = train(test_device(), GetParam(), 0);
  std::vector<Course> disturbed;
  for (int seed = 1; seed <= kDisturbed; ++seed) disturbed.push_back(train({}, GetParam(), seed));

  double yardstick = eps_of(GetParam());
  for (size_t step = 0; step < kSteps; ++step) {
    for (const Course& course : disturbed)
      yardstick = std::max(yardstick, std::abs(course.losses[step] - expected.losses[step]));
    EXPECT_NEAR(actual.losses[step], expected.losses[step], parity::kMargin * yardstick) << "step " << step;
  }
  EXPECT_LT(actual.losses.back(), actual.losses.front());

  // A ReLU that changes sides moves the gradients of a few layers by a lot: the measure is the net's, relative to each
  // tensor, not the tensor's own.
  double relative = eps_of(GetParam());
  for (size_t i = 0; i < expected.gradients.size(); ++i)
    for (const Course& course : disturbed)
      relative = std::max(relative, distance(course.gradients[i], expected.gradients[i]) / norm(expected.gradients[i]));
  for (size_t i = 0; i < expected.gradients.size(); ++i)
    EXPECT_LE(distance(actual.gradients[i], expected.gradients[i]),
              parity::kMargin * relative * norm(expected.gradients[i]))
        << expected.names[i];
}

INSTANTIATE_TEST_SUITE_P(Types, DeviceParity, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

}  // namespace
