// Elementwise operations, conversions and the parameter-free shortcut.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/ops/images.h"
#include "kernels/images.h"
#include "tests/engine/error_text.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

const DType kFloats[] = {DType::f32, DType::bf16, DType::f16};
const auto kDTypeName = [](const auto& instance) { return std::string(name_of(instance.param)); };

class ElementwiseTest : public ::testing::TestWithParam<DType> {
 protected:
  static constexpr int64_t kCount = 100'003;  // several parts, and a rest
  DType dtype() const { return GetParam(); }
  Array normals(uint64_t seed) const { return normal_array(kCount, dtype(), seed); }
  Tensor make(const Array& values) const { return tensor_of(values, {static_cast<int64_t>(values.size())}, dtype()); }

  template <class F>
  void check_unary(UnaryOp op, const Array& x, const F& f) {
    Array expected(x);
    for (double& v : expected) v = f(v);
    const Tensor y = make(x);
    backend(test_device()).unary(op, y, y);
    EXPECT_TRUE(close_to(array_of(y), Expected::elementwise(expected), dtype(), y.shape()));
  }
  template <class F>
  void check_binary(BinaryOp op, const F& f) {
    const Array a = normals(1), b = normals(2);
    Expected expected{a, a, 1}, by_one{a, a, 1};
    for (size_t i = 0; i < a.size(); ++i) {
      expected.value[i] = f(a[i], b[i]);
      by_one.value[i] = f(a[i], b[0]);
      expected.magnitude[i] = std::abs(expected.value[i]) + std::abs(a[i]) + std::abs(b[i]);
      by_one.magnitude[i] = std::abs(by_one.value[i]) + std::abs(a[i]) + std::abs(b[0]);
    }
    const Tensor y = make(a);
    backend(test_device()).binary(op, y, make(b), y);
    EXPECT_TRUE(close_to(array_of(y), expected, dtype(), y.shape()));
    backend(test_device()).binary(op, make(a), make({b[0]}), y);
    EXPECT_TRUE(close_to(array_of(y), by_one, dtype(), y.shape()));
  }
};

TEST_P(ElementwiseTest, Relu) {
  check_unary(UnaryOp::relu, normals(1), [](double v) { return v < 0 ? 0 : v; });
}
TEST_P(ElementwiseTest, Sigmoid) {
  check_unary(UnaryOp::sigmoid, normals(1), [](double v) { return 1 / (1 + std::exp(-v)); });
}
TEST_P(ElementwiseTest, Exp) {
  check_unary(UnaryOp::exp, normals(1), [](double v) { return std::exp(v); });
}
TEST_P(ElementwiseTest, Log) {
  Array x = normals(1);
  for (double& v : x) v = rounded(std::abs(v) + 2, dtype());
  check_unary(UnaryOp::log, x, [](double v) { return std::log(v); });
}
TEST_P(ElementwiseTest, Negate) {
  check_unary(UnaryOp::negate, normals(1), [](double v) { return -v; });
}
TEST_P(ElementwiseTest, Add) {
  check_binary(BinaryOp::add, [](double a, double b) { return a + b; });
}
TEST_P(ElementwiseTest, Subtract) {
  check_binary(BinaryOp::subtract, [](double a, double b) { return a - b; });
}
TEST_P(ElementwiseTest, Multiply) {
  check_binary(BinaryOp::multiply, [](double a, double b) { return a * b; });
}
TEST_P(ElementwiseTest, Divide) {
  const Array a = normals(1);
  Array b = normals(2), expected(a);
  for (size_t i = 0; i < b.size(); ++i) {
    b[i] = rounded(std::abs(b[i]) + 1, dtype());
    expected[i] = a[i] / b[i];
  }
  const Tensor y = make(a);
  backend(test_device()).binary(BinaryOp::divide, y, make(b), y);
  EXPECT_TRUE(close_to(array_of(y), Expected::elementwise(expected), dtype(), y.shape()));
}

TEST_P(ElementwiseTest, Affine) {
  const Array x = normals(1);
  Expected expected{x, x, 1};
  for (size_t i = 0; i < x.size(); ++i) {
    expected.value[i] = 0.5 * x[i] + 3;
    expected.magnitude[i] = std::abs(0.5 * x[i]) + 3;
  }
  const Tensor y = make(x);
  backend(test_device()).affine(y, 0.5f, 3, y);
  EXPECT_TRUE(close_to(array_of(y), expected, dtype(), y.shape()));
}

TEST_P(ElementwiseTest, Fill) {
  const Tensor y = make(normals(1));
  backend(test_device()).fill(y, 1.25);
  EXPECT_EQ(array_of(y), Array(static_cast<size_t>(kCount), 1.25));
}

TEST_P(ElementwiseTest, SumInAFixedOrder) {
  const Array x = normals(1);
  const Tensor y = empty_tensor({});
  const Expected sum = channel_sums(x, 1);
  std::vector<double> results;
  const int threads = num_threads();
  for (const int count : {1, 2, 3}) {
    set_num_threads(count);
    backend(test_device()).sum(make(x), y);
    results.push_back(y.item());
    EXPECT_TRUE(close_to({y.item()}, sum, DType::f32, {}));
  }
  set_num_threads(threads);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

INSTANTIATE_TEST_SUITE_P(Types, ElementwiseTest, ::testing::ValuesIn(kFloats), kDTypeName);

class ReluTest : public ::testing::TestWithParam<DType> {};

TEST_P(ReluTest, AddAndItsGradient) {
  const Shape shape = {1001};
  const Array a = sparse_integers(1001, 1, 2), b = sparse_integers(1001, 2, 2);
  Array sum(a), masked(b);
  for (size_t i = 0; i < a.size(); ++i) {
    sum[i] = std::max(a[i] + b[i], 0.0);
    if (!(sum[i] > 0)) masked[i] = 0;
  }
  const Tensor y = tensor_of(a, shape, GetParam()), dx = tensor_of(b, shape, GetParam());
  backend(test_device()).add_relu(y, tensor_of(b, shape, GetParam()), y);
  EXPECT_TRUE(equal_to(array_of(y), sum, shape));
  backend(test_device()).relu_backward(dx, y, dx);
  EXPECT_TRUE(equal_to(array_of(dx), masked, shape));
}

INSTANTIATE_TEST_SUITE_P(Types, ReluTest, ::testing::ValuesIn(activation_types()), kDTypeName);

TEST(Elementwise, RefusesArithmeticInHalfPrecisionWhereItHasNone) {
  if (!on_cpu()) GTEST_SKIP() << "about the cpu: GPUs have it";
  const Tensor half = tensor_of(Array(4, 1.0), {4}, DType::f16);
  try {
    backend(test_device()).add_relu(half, half, half);
    ADD_FAILURE() << "f16 was accepted";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "elementwise: f16 on the cpu, expected f32 or bf16; convert with to(DType::f32)");
  }
}

TEST(Convert, RoundsLikeScalarsInEveryType) {
  std::vector<float> values = {
      0, -0.0f, 1, -1.5f, 255, 256, 3.14159f, 1e-40f, 65504, 1e38f, std::numeric_limits<float>::infinity()};
  while (values.size() < 40) values.push_back(values.back() == 0 ? 1 : 1.0f / static_cast<float>(values.size()) + 1);
  const Tensor x = Tensor::from(values, {static_cast<int64_t>(values.size())}, test_device());
  const auto bits = x.to(DType::bf16).to_vector<bf16>();
  for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(bits[i].bits, kernels::from_float<bf16>(values[i]).bits) << i;
  const auto back = x.to(DType::bf16).to(DType::f32).to_vector<float>();
  for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(back[i], kernels::to_float(bits[i])) << i;
  const auto half = x.to(DType::f16).to_vector<f16>();
  for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(half[i].bits, kernels::from_float<f16>(values[i]).bits) << i;
}

TEST(Convert, KeepsANotANumberInBf16) {
  const Tensor x = Tensor::from(std::vector<float>(20, std::nanf("")), {20}, test_device());
  for (const bf16 v : x.to(DType::bf16).to_vector<bf16>()) EXPECT_TRUE(std::isnan(kernels::to_float(v)));
}

TEST(Convert, LimitsIntegers) {
  const Tensor x = Tensor::from(std::vector<float>{-3, 0.9f, 2.7f, 254.5f, 300, std::nanf("")}, {6}, test_device());
  EXPECT_EQ(x.to(DType::u8).to_vector<uint8_t>(), (std::vector<uint8_t>{0, 0, 2, 254, 255, 0}));
  EXPECT_EQ(x.to(DType::i64).to_vector<int64_t>(), (std::vector<int64_t>{-3, 0, 2, 254, 300, 0}));
  EXPECT_EQ(Tensor::from(std::vector<int64_t>{-1, 7, 1000}, {3}, test_device()).to(DType::u8).to_vector<uint8_t>(),
            (std::vector<uint8_t>{0, 7, 255}));
}

TEST(Convert, BlockedLayoutPutsSixteenChannelsTogether) {
  if (!on_cpu()) GTEST_SKIP() << "about the cpu's private layout";
  const Shape shape = {2, 3, 5, 32};
  Array values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  const Tensor blocked = tensor_of(values, shape, DType::f32, Layout::blocked16);
  for (int64_t n = 0; n < 2; ++n)
    for (int64_t pixel = 0; pixel < 15; ++pixel)
      for (int64_t c = 0; c < 32; ++c)
        ASSERT_EQ(blocked.raw<float>()[((n * 2 + c / 16) * 15 + pixel) * 16 + c % 16],
                  static_cast<float>((n * 15 + pixel) * 32 + c));
  EXPECT_EQ(array_of(blocked), values);
}

TEST(Convert, ChangesTypeAndLayoutAtOnce) {
  const Shape shape = {1, 4, 4, 16};
  const Array values = normal_array(shape.numel(), DType::bf16, 1);
  const Tensor y = empty_tensor(shape, DType::bf16, Layout::blocked16);
  backend(test_device()).convert(tensor_of(values, shape), y);
  EXPECT_EQ(array_of(y), values);
}

TEST(NormalizeImages, ScalesEachChannel) {
  std::vector<uint8_t> pixels(2 * 3 * 4 * 3);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 7);
  const std::vector<float> mean = {0.485f, 0.456f, 0.406f}, deviation = {0.229f, 0.224f, 0.225f};
  const Tensor x = Tensor::from(pixels, {2, 3, 4, 3}, test_device());
  for (const DType dtype : kFloats) {
    const Tensor y = empty_tensor(x.shape(), dtype);
    backend(test_device()).normalize_images(x, mean, deviation, {}, y);
    Expected expected{Array(pixels.size()), Array(pixels.size()), 1};
    for (size_t i = 0; i < pixels.size(); ++i) {
      expected.value[i] = (pixels[i] / 255.0 - double{mean[i % 3]}) / double{deviation[i % 3]};
      expected.magnitude[i] = (pixels[i] / 255.0 + double{mean[i % 3]}) / double{deviation[i % 3]};
    }
    EXPECT_TRUE(close_to(array_of(y), expected, dtype, x.shape()));
  }
}

// Weights that are sums of powers of two, so that the mix is exact; kernels/images_test has all the cases.
TEST(NormalizeImages, ErasesAndMixesWhatTheDeviceIsTold) {
  const std::vector<uint8_t> pixels = {0, 255, 255, 0, 255, 255, 0, 0};
  const std::vector<float> mean = {0.5f}, deviation = {0.5f};
  const Tensor x = Tensor::from(pixels, {2, 2, 2, 1}, test_device());
  ImageChoices choices;
  const auto upload = [](const Tensor& to, const auto& from) {
    backend(test_device()).upload(to.raw(), &from, sizeof(from));
  };
  choices.erased = Tensor::from(std::vector<int64_t>{0, 1, 2, 2, 0, 0, 0, 0}, {2, 4}, test_device());
  EXPECT_EQ(array_of(normalize_images(x, mean, deviation, DType::f32, choices)), (Array{-1, 0, 1, 0, 1, 1, -1, -1}));

  choices.mix = mix_tensor(test_device());
  upload(choices.mix, kernels::ImageMix{.weight = 0.25f, .partner = 1});
  EXPECT_EQ(array_of(normalize_images(x, mean, deviation, DType::f32, choices)),
            (Array{0.5, 0.75, -0.5, -0.75, -0.5, 0.25, 0.5, -0.25}));
  upload(choices.mix, kernels::ImageMix{.partner = 1, .top = 1, .left = 0, .bottom = 2, .right = 1});
  for (const DType dtype : kFloats) {
    EXPECT_EQ(array_of(normalize_images(x, mean, deviation, dtype, choices)), (Array{-1, 0, -1, 0, 1, 1, 1, -1}));
  }
}

// Pictures of a whole set, each with another crop; the row and column outside are black, which is -1 here.
TEST(NormalizeImages, TakesCropsFromASet) {
  const std::vector<uint8_t> pixels = {0, 0, 0, 0, 255, 0, 255, 255, 0, 255, 0, 255};
  const std::vector<float> mean = {0.5f}, deviation = {0.5f};
  const Tensor x = Tensor::from(pixels, {3, 2, 2, 1}, test_device());
  ImageChoices choices;
  choices.indices = Tensor::from(std::vector<int64_t>{1, 2}, {2}, test_device());
  EXPECT_EQ(array_of(normalize_images(x, mean, deviation, DType::f32, choices)), (Array{1, -1, 1, 1, -1, 1, -1, 1}));
  choices.flips = Tensor::from(std::vector<uint8_t>{1, 0}, {2}, test_device());
  EXPECT_EQ(array_of(normalize_images(x, mean, deviation, DType::f32, choices)), (Array{-1, 1, 1, 1, -1, 1, -1, 1}));
  choices.offsets = Tensor::from(std::vector<int64_t>{0, 0, 1, -1}, {2, 2}, test_device());
  choices.height = 1;
  choices.width = 3;
  const Tensor y = normalize_images(x, mean, deviation, DType::f32, choices);
  EXPECT_EQ(y.shape(), (Shape{2, 1, 3, 1}));
  EXPECT_EQ(array_of(y), (Array{-1, -1, 1, -1, -1, 1}));
}

TEST(NormalizeImages, RefusesChoicesOfAnotherShape) {
  const Tensor x = Tensor::zeros({2, 2, 2, 3}, {.dtype = DType::u8, .device = test_device()});
  const std::vector<float> numbers(3, 1.0f);
  ImageChoices choices;
  choices.erased = Tensor::zeros({2, 2}, {.dtype = DType::i64, .device = test_device()});
  EXPECT_THAT(error_text([&] { normalize_images(x, numbers, numbers, DType::f32, choices); }),
              ::testing::HasSubstr("normalize_images: the erased boxes are [2,2] of i64"));
  EXPECT_THAT(
      error_text([&] { mixed_targets(Tensor::zeros({2}, {.dtype = DType::i64, .device = test_device()}), x, 10); }),
      ::testing::HasSubstr("mixed_targets: the mix is [2,2,2,3] of u8"));
}

TEST(MixedTargets, ShareEachLabelWithThePartner) {
  const Tensor labels = Tensor::from(std::vector<int64_t>{1, 0, 0}, {3}, test_device()),
               mix = mix_tensor(test_device());
  const kernels::ImageMix choice = {.target_weight = 0.25f, .partner = 2};
  backend(test_device()).upload(mix.raw(), &choice, sizeof(choice));
  EXPECT_EQ(array_of(mixed_targets(labels, mix, 2)), (Array{0.75, 0.25, 1, 0, 0.25, 0.75}));
}

struct ShortcutCase {
  const char* name;
  Shape x, y;
  Layout x_layout, y_layout;
  int64_t stride, before;
};

class SubsampleTest : public ::testing::TestWithParam<ShortcutCase> {};

TEST_P(SubsampleTest, CopiesForwardAndBack) {
  const ShortcutCase& c = GetParam();
  const Array x = normal_array(c.x.numel(), DType::f32, 1), dy = normal_array(c.y.numel(), DType::f32, 2);
  Array y(dy.size()), dx(x.size());
  for (int64_t i = 0; i < c.y.numel(); ++i) {
    const int64_t k = i % c.y[3], q = i / c.y[3] % c.y[2], p = i / (c.y[3] * c.y[2]) % c.y[1];
    const int64_t n = i / (c.y[3] * c.y[2] * c.y[1]), channel = k - c.before;
    if (channel < 0 || channel >= c.x[3]) continue;
    const int64_t from = ((n * c.x[1] + p * c.stride) * c.x[2] + q * c.stride) * c.x[3] + channel;
    y[static_cast<size_t>(i)] = x[static_cast<size_t>(from)];
    dx[static_cast<size_t>(from)] = dy[static_cast<size_t>(i)];
  }
  const Tensor result = empty_tensor(c.y, DType::f32, c.y_layout), gradient = empty_tensor(c.x, DType::f32, c.x_layout);
  backend(test_device()).subsample_pad(tensor_of(x, c.x, DType::f32, c.x_layout), c.stride, c.before, result);
  EXPECT_TRUE(equal_to(array_of(result), y, c.y));
  backend(test_device())
      .subsample_pad_backward(tensor_of(dy, c.y, DType::f32, c.y_layout), c.stride, c.before, gradient);
  EXPECT_TRUE(equal_to(array_of(gradient), dx, c.x));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, SubsampleTest,
    ::testing::Values(ShortcutCase{"cifar16", {2, 8, 8, 16}, {2, 4, 4, 32}, Layout::blocked16, Layout::blocked16, 2, 8},
                      ShortcutCase{
                          "cifar32", {2, 8, 8, 32}, {2, 4, 4, 64}, Layout::blocked16, Layout::blocked16, 2, 16},
                      ShortcutCase{"odd", {1, 7, 5, 16}, {1, 4, 3, 32}, Layout::blocked16, Layout::blocked16, 2, 0},
                      ShortcutCase{"mixed", {1, 6, 6, 10}, {1, 3, 3, 32}, Layout::nhwc, Layout::blocked16, 2, 11},
                      ShortcutCase{"nhwc", {2, 4, 4, 5}, {2, 4, 4, 9}, Layout::nhwc, Layout::nhwc, 1, 2}),
    [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace engine::testing
