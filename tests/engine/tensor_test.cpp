#include "engine/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/ops/elementwise.h"
#include "tests/engine/error_text.h"

namespace {

using namespace engine;
using engine::testing::error_text;
using ::testing::Each;
using ::testing::ElementsAre;

std::vector<float> counting(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

// An activation whose storage has the layout that only backends know.
Tensor blocked_activation() {
  const Shape shape = {2, 3, 2, 32};
  Tensor x = in_layout(Tensor::from(counting(shape.numel()), shape), Layout::blocked16);
  EXPECT_EQ(layout_of(x), Layout::blocked16);
  return x;
}

TEST(Tensor, HoldsWhatItIsMadeOf) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  EXPECT_EQ(x.shape(), (Shape{2, 3}));
  EXPECT_EQ(x.size(1), 3);
  EXPECT_EQ(x.numel(), 6);
  EXPECT_EQ(x.bytes(), 24u);
  EXPECT_EQ(x.dtype(), DType::f32);
  EXPECT_EQ(x.device(), Device{});
  EXPECT_THAT(x.to_vector<float>(), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(Tensor, FullAndZerosInEveryDType) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::u8, DType::i64}) {
    EXPECT_EQ(Tensor::full({}, 3, {.dtype = dtype}).item(), 3) << dtype;
    EXPECT_EQ(sum(Tensor::zeros({4, 4}, {.dtype = dtype}).to(DType::f32)).item(), 0) << dtype;
  }
}

TEST(Tensor, ScalarAndItem) {
  EXPECT_EQ(Tensor::scalar(-2.5).item(), -2.5);
  EXPECT_EQ(Tensor::scalar(-2.5).shape(), Shape{});
  EXPECT_EQ(Tensor::from(std::vector<int64_t>{int64_t{1} << 40}, {1, 1}).item(), 1099511627776.0);
}

TEST(Tensor, EmptyShapesHaveNoElements) {
  const Tensor x = Tensor::zeros({0, 3});
  EXPECT_EQ(x.numel(), 0);
  EXPECT_TRUE(x.to_vector<float>().empty());
  EXPECT_TRUE(x.clone().reshape({3, 0}).to(DType::bf16).values<bf16>().empty());
}

TEST(Tensor, HandlesShareAndClonesDoNot) {
  Tensor x = Tensor::zeros({2});
  Tensor same = x, detached = x.detach(), copy = x.clone();
  x.mutable_values<float>()[0] = 7;
  EXPECT_EQ(same.values<float>()[0], 7);
  EXPECT_EQ(detached.values<float>()[0], 7);
  EXPECT_EQ(copy.values<float>()[0], 0);
}

TEST(Tensor, UniqueMeansThatNobodyElseSeesTheStorage) {
  Tensor x = Tensor::zeros({2});
  EXPECT_TRUE(x.unique());
  {
    const Tensor handle = x;
    EXPECT_FALSE(x.unique());
  }
  EXPECT_TRUE(x.unique());
  const Tensor detached = x.detach();
  EXPECT_FALSE(x.unique());
}

TEST(Tensor, ReshapeKeepsTheElementsInOrder) {
  const Tensor x = Tensor::from(counting(6), {2, 3});
  const Tensor y = x.reshape({3, 1, 2});
  EXPECT_EQ(y.shape(), (Shape{3, 1, 2}));
  EXPECT_EQ(y.to_vector<float>(), counting(6));
}

TEST(Tensor, CopyFromConvertsAndCountsAsAWrite) {
  Tensor x = Tensor::zeros({3});
  const uint64_t version = x.storage().version();
  x.copy_from(Tensor::from(std::vector<uint8_t>{1, 2, 255}, {3}));
  EXPECT_THAT(x.to_vector<float>(), ElementsAre(1, 2, 255));
  EXPECT_GT(x.storage().version(), version);
}

TEST(Tensor, MutableValuesCountAsAWriteAndValuesDoNot) {
  Tensor x = Tensor::zeros({3});
  const uint64_t version = x.storage().version();
  (void)x.values<float>();
  EXPECT_EQ(x.storage().version(), version);
  (void)x.mutable_values<float>();
  EXPECT_GT(x.storage().version(), version);
}

// --- conversions ---

TEST(TensorTo, RoundsToNearestEven) {
  const Tensor x = Tensor::from(std::vector<float>{1.0f, 1.00390625f, 1.01171875f, 3.0e38f, -0.0f}, {5});
  const Tensor y = x.to(DType::bf16);
  std::vector<uint16_t> bits;
  for (const bf16 value : y.values<bf16>()) bits.push_back(value.bits);
  EXPECT_THAT(bits, ElementsAre(0x3f80, 0x3f80, 0x3f82, 0x7f62, 0x8000));
}

TEST(TensorTo, WidensExactly) {
  std::vector<f16> values;
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) values.push_back({static_cast<uint16_t>(bits)});
  const Tensor x = Tensor::from(values, {static_cast<int64_t>(values.size())});
  const std::vector<float> wide = x.to(DType::f32).to_vector<float>();
  for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(wide[i], kernels::to_float(values[i])) << i;
}

TEST(TensorTo, ItselfIfThereIsNothingToConvert) {
  const Tensor x = Tensor::zeros({2});
  EXPECT_EQ(x.to(DType::f32).body(), x.body());
  EXPECT_EQ(x.to(Device{}).body(), x.body());
}

// --- the private layout is nobody's business ---

TEST(PrivateLayout, ReadsRowMajor) {
  const Tensor x = blocked_activation();
  EXPECT_EQ(x.to_vector<float>(), counting(x.numel()));
}

TEST(PrivateLayout, OtherHandlesSeeTheSameAfterwards) {
  const Tensor x = blocked_activation();
  const Tensor detached = x.detach();
  (void)x.values<float>();
  EXPECT_EQ(detached.to_vector<float>(), counting(x.numel()));
  EXPECT_EQ(layout_of(detached), layout_of(x));
}

TEST(PrivateLayout, WritesRowMajor) {
  Tensor x = blocked_activation();
  x.mutable_values<float>()[33] = -1;  // n=0, h=0, w=1, c=1
  std::vector<float> expected = counting(x.numel());
  expected[33] = -1;
  EXPECT_EQ(in_layout(x, Layout::blocked16).to_vector<float>(), expected);
}

TEST(PrivateLayout, SurvivesCloneConversionAndCopy) {
  const Tensor x = blocked_activation();
  EXPECT_EQ(x.clone().to_vector<float>(), counting(x.numel()));
  EXPECT_EQ(x.to(DType::f16).to(DType::f32).to_vector<float>(), counting(x.numel()));
  Tensor plain = Tensor::zeros(x.shape());
  plain.copy_from(x);
  EXPECT_EQ(plain.to_vector<float>(), counting(x.numel()));
  Tensor blocked = in_layout(Tensor::zeros(x.shape()), Layout::blocked16);
  blocked.copy_from(plain);
  EXPECT_EQ(blocked.to_vector<float>(), counting(x.numel()));
}

TEST(PrivateLayout, ReshapeSeesTheRowMajorOrder) {
  const Tensor x = blocked_activation();
  EXPECT_EQ(x.reshape({x.numel()}).to_vector<float>(), counting(x.numel()));
}

TEST(PrivateLayout, OperandsMayDiffer) {
  const Tensor blocked = blocked_activation(), plain = Tensor::from(counting(blocked.numel()), blocked.shape());
  EXPECT_THAT((blocked - plain).to_vector<float>(), Each(0.0f));
  EXPECT_THAT((plain - blocked).to_vector<float>(), Each(0.0f));
}

TEST(PrivateLayout, GradientsCombineAcrossLayouts) {
  Tensor plain = Tensor::from(counting(2 * 3 * 2 * 32), {2, 3, 2, 32});
  plain.set_requires_grad(true);
  const Tensor blocked = blocked_activation();
  // One use of the leaf meets the blocked operand from the left, one from the right.
  sum(blocked * plain + plain * blocked).backward();
  std::vector<float> expected = counting(plain.numel());
  for (float& value : expected) value *= 2;
  EXPECT_EQ(plain.grad().to_vector<float>(), expected);
}

// --- errors ---

TEST(TensorErrors, NumberOfValues) {
  EXPECT_EQ(error_text([] {
              Tensor::from(std::vector<float>{1, 2, 3}, {2, 2});
            }),
            "Tensor::from: 3 values given, but shape [2,2] holds 4");
}

TEST(TensorErrors, ValuesOfAnotherType) {
  const Tensor x = Tensor::zeros({2, 2});
  EXPECT_EQ(error_text([&] { (void)x.values<int64_t>(); }),
            "Tensor::values: asked for i64, but the tensor [2,2] holds f32");
}

TEST(TensorErrors, ItemOfMany) {
  EXPECT_EQ(error_text([] { Tensor::zeros({3}).item(); }),
            "Tensor::item: the tensor has shape [3], expected one element");
}

TEST(TensorErrors, Reshape) {
  EXPECT_EQ(error_text([] { Tensor::zeros({2, 3}).reshape({4}); }), "reshape: [2,3] has 6 elements, but [4] has 4");
}

TEST(TensorErrors, CopyFrom) {
  EXPECT_EQ(error_text([] { Tensor::zeros({2}).copy_from(Tensor::zeros({3})); }),
            "copy_from: the source has shape [3], the target [2]");
}

TEST(TensorErrors, Undefined) {
  const Tensor x;
  EXPECT_FALSE(x.defined());
  EXPECT_EQ(error_text([&] { x.shape(); }), "Tensor::shape: the tensor is undefined");
  EXPECT_EQ(error_text([&] { x.dtype(); }), "Tensor::dtype: the tensor is undefined");
  EXPECT_EQ(error_text([&] { x.to_vector<float>(); }),
            "Tensor: the tensor is undefined; assign a result to it before use");
  EXPECT_FALSE(x.requires_grad());
  EXPECT_FALSE(x.detach().defined());
}

TEST(TensorErrors, ElementwiseOperands) {
  const Tensor a = Tensor::zeros({2, 3}), b = Tensor::zeros({3, 2});
  EXPECT_EQ(error_text([&] { a + b; }),
            "add: the shapes [2,3] and [3,2] differ, expected equal shapes or one element on the right");
  EXPECT_EQ(error_text([&] { a* a.to(DType::bf16); }),
            "multiply: the operands hold f32 and bf16, expected one dtype; convert with to()");
  EXPECT_EQ(error_text([&] { sum(Tensor::zeros({2}, {.dtype = DType::u8})); }),
            "sum: the operand [2] holds u8, expected a float type");
}

TEST(TensorErrors, SetGrad) {
  Tensor x = Tensor::zeros({2});
  EXPECT_EQ(error_text([&] { x.set_grad(Tensor::zeros({3})); }),
            "set_grad: the gradient has shape [3], the tensor [2]");
}

// --- devices ---

TEST(Device, TheCpuIsAlwaysThere) {
  EXPECT_TRUE(available(Device{}));
  EXPECT_EQ(to_string(Device{}), "cpu");
  EXPECT_EQ(to_string(Device{DeviceType::cuda, 1}), "cuda:1");
}

TEST(Device, AnAbsentOneSaysWhy) {
  for (const DeviceType type : {DeviceType::cuda, DeviceType::emulated}) {
    std::string reason;
    if (available({type, 0}, &reason)) continue;
    EXPECT_NE(reason, "");
    EXPECT_THAT(error_text(
                    [&] {
                      Tensor::zeros({1}, {.device = {type, 0}});
                    },
                    ErrorKind::device),
                ::testing::HasSubstr(reason));
  }
}

}  // namespace
