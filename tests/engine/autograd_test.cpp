// The tape: order, sums, lifetime. What each op's gradient is worth is tested beside the op.
#include "engine/autograd.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <thread>
#include <vector>

#include "engine/backend.h"
#include "engine/nn/layers.h"
#include "engine/ops/elementwise.h"
#include "tests/arrays.h"
#include "tests/engine/error_text.h"

namespace {

using namespace engine;
using namespace engine::testing;
using ::testing::Each;
using ::testing::ElementsAre;

Tensor leaf(const std::vector<float>& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size())}, test_device()).set_requires_grad(true);
}

TEST(Autograd, ATensorUsedTwiceGetsTheSum) {
  const Tensor x = leaf({1, -2, 3});
  sum(x * x + x).backward();
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(3, -3, 7));
}

TEST(Autograd, ADiamondVisitsEachNodeOnce) {
  int visits = 0;
  const Tensor x = leaf({1, 2});
  const Tensor top = record(x.detach() * 2, {x}, [&](const Tensor& dy) {
    ++visits;
    return Tensors{dy * 2};
  });
  const Tensor left = top * 3, right = top * 5;
  sum(left + right).backward();
  EXPECT_EQ(visits, 1);
  EXPECT_THAT(x.grad().to_vector<float>(), Each(16.0f));
}

// Without the sums in the right order this would visit 2^40 paths.
TEST(Autograd, AChainOfDiamondsTakesLinearTime) {
  const Tensor x = leaf({1});
  Tensor y = x;
  for (int i = 0; i < 40; ++i) y = y * 0.5f + y * 0.5f;
  y.backward();
  EXPECT_EQ(x.grad().item(), 1);
}

TEST(Autograd, TwoPassesAccumulate) {
  const Tensor x = leaf({1, 2});
  for (int pass = 0; pass < 2; ++pass) sum(x * x).backward();
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(4, 8));
  Tensor handle = x;
  handle.clear_grad();
  EXPECT_FALSE(x.grad().defined());
}

TEST(Autograd, TwoRootsOverSeparateTapesShareALeaf) {
  const Tensor x = leaf({3});
  const Tensor a = x * 2, b = x * 5;
  a.backward();
  b.backward();
  EXPECT_EQ(x.grad().item(), 7);
}

TEST(Autograd, AGradientCanBeGiven) {
  const Tensor x = leaf({1, 2, 3});
  (x * x).backward(Tensor::from(std::vector<float>{1, 10, 100}, {3}, test_device()));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(2, 40, 600));
}

TEST(Autograd, OnlyLeavesThatRequireItGetAGradient) {
  const Tensor x = leaf({1}), constant = Tensor::from(std::vector<float>{2}, {1}, test_device());
  const Tensor y = x * constant;
  EXPECT_TRUE(y.requires_grad());
  EXPECT_FALSE(y.is_leaf());
  y.backward();
  EXPECT_EQ(x.grad().item(), 2);
  EXPECT_FALSE(constant.grad().defined());
  EXPECT_FALSE(y.grad().defined());
}

TEST(Autograd, DetachStopsTheGradient) {
  const Tensor x = leaf({3});
  (x * x.detach()).backward();
  EXPECT_EQ(x.grad().item(), 3);
}

TEST(Autograd, ReshapeAndConversionPassItOn) {
  const Tensor x = leaf({1, 2, 3, 4});
  const Tensor y = x.reshape({2, 2}).to(DType::bf16) * 3;
  EXPECT_EQ(y.dtype(), DType::bf16);
  sum(y).backward();
  EXPECT_EQ(x.grad().dtype(), DType::f32);
  EXPECT_EQ(x.grad().shape(), (Shape{4}));
  EXPECT_THAT(x.grad().to_vector<float>(), Each(3.0f));
}

TEST(Autograd, AnUndefinedGradientMeansZero) {
  const Tensor x = leaf({1}), w = leaf({2});
  record(x.detach() * w.detach(), {x, w}, [](const Tensor& dy) { return Tensors{dy * 5, {}}; }).backward();
  EXPECT_EQ(x.grad().item(), 5);
  EXPECT_FALSE(w.grad().defined());
}

TEST(Autograd, AnInputMayBeUndefined) {
  const Tensor x = leaf({1});
  record(x.detach(), {x, Tensor{}}, [](const Tensor& dy) { return Tensors{dy, {}}; }).backward();
  EXPECT_EQ(x.grad().item(), 1);
}

// Clipping in place would otherwise change both.
TEST(Autograd, LeavesDoNotShareTheirGradients) {
  const Tensor a = leaf({1}), b = leaf({1});
  (a + b).backward();
  Tensor grad = a.grad();
  grad.copy_from(Tensor::full({1}, 100));
  EXPECT_EQ(b.grad().item(), 1);
}

TEST(Autograd, TheGivenGradientStaysTheCallers) {
  const Tensor x = leaf({1, 1});
  Tensor dy = full_tensor({2}, 1);
  x.backward(dy);
  (x * 1).backward(dy);
  EXPECT_THAT(dy.to_vector<float>(), Each(1.0f));
  EXPECT_THAT(x.grad().to_vector<float>(), Each(2.0f));
}

// --- NoGrad ---

TEST(NoGrad, RecordsNothing) {
  const Tensor x = leaf({1});
  const int64_t before = live_nodes();
  {
    const NoGrad no_grad;
    EXPECT_FALSE(grad_enabled());
    const Tensor y = x * 2;
    EXPECT_FALSE(y.requires_grad());
    EXPECT_EQ(live_nodes(), before);
  }
  EXPECT_TRUE(grad_enabled());
  EXPECT_TRUE((x * 2).requires_grad());
}

TEST(NoGrad, Nests) {
  const NoGrad outer;
  { const NoGrad inner; }
  EXPECT_FALSE(grad_enabled());
}

TEST(NoGrad, IsTheThreadsOwn) {
  const NoGrad no_grad;
  bool enabled_elsewhere = false;
  std::thread([&] { enabled_elsewhere = grad_enabled(); }).join();
  EXPECT_TRUE(enabled_elsewhere);
}

TEST(NoGrad, CoversBackwardFunctions) {
  const Tensor x = leaf({1});
  bool enabled = true;
  record(x.detach(), {x}, [&](const Tensor& dy) {
    enabled = grad_enabled();
    return Tensors{dy};
  }).backward();
  EXPECT_FALSE(enabled);
  EXPECT_TRUE(grad_enabled());
}

// --- lifetime ---

TEST(Lifetime, ATapeGoesWithItsResult) {
  const int64_t before = live_nodes();
  const Tensor x = leaf({1});
  {
    const Tensor y = exp(x * 2) + x;
    EXPECT_EQ(live_nodes(), before + 3);
  }
  EXPECT_EQ(live_nodes(), before);
}

TEST(Lifetime, BackwardFreesNodesAsItGoes) {
  const Tensor x = leaf({1});
  const int64_t before = live_nodes();
  std::vector<int64_t> alive;
  Tensor y = x;
  for (int i = 0; i < 4; ++i) {
    y = record(y.detach(), {y}, [&](const Tensor& dy) {
      alive.push_back(live_nodes() - before);
      return Tensors{dy};
    });
  }
  y.backward();
  // The node at work is counted, and the first one, which the handle `y` keeps.
  EXPECT_THAT(alive, ElementsAre(4, 4, 3, 2));
}

TEST(Lifetime, BackwardFreesWhatOpsSaved) {
  const Device device = test_device();
  const size_t start = memory_stats(device).in_use;
  constexpr size_t kBytes = 1 << 20;
  constexpr size_t kDepth = 16;
  Tensor x = full_tensor({kBytes / sizeof(float)}, 0.5).set_requires_grad(true);
  Tensor y = x;
  for (size_t i = 0; i < kDepth; ++i) y = sigmoid(y);  // each saves its result
  const size_t held = memory_stats(device).in_use - start;
  EXPECT_GE(held, (kDepth + 1) * kBytes);

  Tensor loss = sum(y);
  y = {};
  reset_peak_memory(device);
  loss.backward();
  // Gradients take the place of what the ops saved, so that the peak is that of the first steps: the gradient of the
  // sum and the temporaries of one sigmoid.
  EXPECT_LT(memory_stats(device).peak - start, held + 5 * kBytes);
  EXPECT_LT(memory_stats(device).in_use - start, 3 * kBytes);  // x and its gradient
}

TEST(Lifetime, ALongTapeIsUsedWithoutRecursion) {
  const Tensor x = leaf({1});
  Tensor y = x;
  for (int i = 0; i < 100000; ++i) y = y + 1.0f;
  y.backward();
  EXPECT_EQ(x.grad().item(), 1);
}

TEST(Lifetime, ALongTapeIsDroppedWithoutRecursion) {
  const int64_t before = live_nodes();
  const Tensor x = leaf({1});
  Tensor y = x;
  for (int i = 0; i < 100000; ++i) y = y + 1.0f;
  EXPECT_EQ(live_nodes(), before + 100000);
  y = {};
  EXPECT_EQ(live_nodes(), before);
}

TEST(Lifetime, AClosureThatHoldsATapeIsDroppedWithIt) {
  const int64_t before = live_nodes();
  {
    const Tensor x = leaf({1});
    const auto inner = std::make_shared<Tensor>(x * 2);
    const Tensor outer = record(x.detach(), {x}, [inner](const Tensor& dy) { return Tensors{dy}; });
  }
  EXPECT_EQ(live_nodes(), before);
}

// Reading a result turns a private layout row-major in place, behind the back of what the ops saved.
TEST(Lifetime, ResultsMayBeReadBeforeTheBackwardPass) {
  RandomStream random(1, 0, 0, purpose::kInitialisation);
  const Shape shape = {4, 6, 6, 16};
  const Tensor images = tensor_of(normal_array(shape.numel(), DType::f32, 1), shape);
  const auto gradients = [&](bool read) {
    RandomStream same(1, 0, 0, purpose::kInitialisation);
    Conv2d conv1({.in_channels = 16, .out_channels = 32, .kernel = 3, .padding = 1}, same),
        conv2({.in_channels = 32, .out_channels = 32}, same);
    BatchNorm2d bn1(32), bn2(32);
    for (Module* layer : std::initializer_list<Module*>{&conv1, &conv2, &bn1, &bn2}) layer->to(test_device());
    const Tensor x = images.clone().set_requires_grad(true);
    const Tensor a = conv_bn_relu(x, conv1, bn1), b = conv_bn_relu(a, conv2, bn2, {.residual = a});
    if (read) {
      (void)array_of(a);
      (void)array_of(b);
    }
    sum(b * b).backward();
    return array_of(x.grad());
  };
  const Array unread = gradients(false), read = gradients(true);
  double norm = 0, error = 0;
  for (size_t i = 0; i < read.size(); ++i) {
    norm += unread[i] * unread[i];
    error += (read[i] - unread[i]) * (read[i] - unread[i]);
  }
  // Another layout may add in another order; the longest sums are those of a batch norm, over 144 elements, and of the
  // 3x3 convolution, over 288.
  EXPECT_LE(std::sqrt(error), 4 * (4 + 2 * std::sqrt(288.0)) * 0x1p-24 * std::sqrt(norm));
}

// --- errors ---

TEST(AutogradErrors, ASecondPassOverAUsedTape) {
  const Tensor x = leaf({1, 2});
  const Tensor loss = sum(x * x);
  loss.backward();
  EXPECT_EQ(error_text([&] { loss.backward(); }),
            "backward: this part of the tape was already used and freed; compute the result again");
}

TEST(AutogradErrors, ASecondPassThroughAUsedPart) {
  const Tensor x = leaf({1, 2});
  const Tensor shared = x * x, first = sum(shared), second = sum(shared * 2);
  first.backward();
  EXPECT_EQ(error_text([&] { second.backward(); }),
            "backward: this part of the tape was already used and freed; compute the result again");
}

TEST(AutogradErrors, NothingRequiresAGradient) {
  EXPECT_EQ(error_text([] { Tensor::scalar(1).backward(); }), "backward: no input of this tensor requires a gradient");
  EXPECT_EQ(error_text([] { Tensor{}.backward(); }), "backward: no input of this tensor requires a gradient");
}

TEST(AutogradErrors, ManyElementsWithoutAGradient) {
  const Tensor x = leaf({1, 2});
  EXPECT_EQ(error_text([&] { (x * 2).backward(); }),
            "backward: the tensor has shape [2]; pass its gradient, or reduce it to one element first");
}

TEST(AutogradErrors, AGradientOfAnotherForm) {
  const Tensor x = leaf({1, 2});
  EXPECT_EQ(error_text([&] { (x * 2).backward(full_tensor({3}, 0)); }),
            "backward: the gradient is [3] of f32, the tensor [2] of f32");
  EXPECT_EQ(error_text([&] { (x * 2).backward(full_tensor({2}, 0, DType::bf16)); }),
            "backward: the gradient is [2] of bf16, the tensor [2] of f32");
}

TEST(AutogradErrors, AnOpThatReturnsTheWrongGradients) {
  const Tensor x = leaf({1, 2});
  const auto through = [&](const BackwardFunction& backward) {
    return error_text([&] { record(x.detach(), {x}, backward).backward(full_tensor({2}, 0)); });
  };
  EXPECT_EQ(through([](const Tensor& dy) {
              return Tensors{dy, dy};
            }),
            "backward: an op returned 2 gradients for 1 inputs");
  EXPECT_EQ(through([](const Tensor& dy) {
              return Tensors{dy.reshape({1, 2})};
            }),
            "backward: an op returned a gradient [1,2] of f32 for an input [2] of f32");
  EXPECT_EQ(through([](const Tensor& dy) { return Tensors{dy.to(DType::bf16)}; }),
            "backward: an op returned a gradient [2] of bf16 for an input [2] of f32");
}

TEST(AutogradErrors, RequiresGradIsForLeavesOfFloatTypes) {
  const Tensor x = leaf({1});
  Tensor y = x * 2;
  EXPECT_EQ(error_text([&] { y.set_requires_grad(false); }),
            "set_requires_grad: only a leaf (a tensor not made by a recorded op) can be changed");
  EXPECT_EQ(error_text([] { Tensor::zeros({1}, {.dtype = DType::i64}).set_requires_grad(true); }),
            "set_requires_grad: a tensor of i64 has no gradient, expected a float type");
}

TEST(AutogradErrors, AResultWithoutGradientsCannotBeRecorded) {
  const Tensor x = leaf({1});
  EXPECT_EQ(error_text([&] {
              record(Tensor::zeros({1}, {.dtype = DType::u8}), {x}, [](const Tensor& dy) { return Tensors{dy}; });
            }),
            "record: the result must be a tensor of a float type");
}

}  // namespace
