// Convolutions against loops in double precision: each direction in every type; on the CPU every implementation that
// the library offers for a shape.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/cpu/backend.h"
#include "engine/cpu/conv_plan.h"
#include "engine/error.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

using cpu::ConvDirection;
using cpu::ConvProblem;

struct Case {
  const char* name;
  Conv2dShape shape;
};

// The distinct convolutions of ResNet-18 and ResNet-50 at 224 x 224, one image; then what is at the edges.
const Case kCases[] = {
    {"stem7x7", {.n = 1, .h = 224, .w = 224, .c = 3, .k = 64, .r = 7, .s = 7, .stride = 2, .padding = 3}},
    {"c56x64_3x3", {.n = 1, .h = 56, .w = 56, .c = 64, .k = 64, .r = 3, .s = 3, .padding = 1}},
    {"c56x64_128_3x3s2", {.n = 1, .h = 56, .w = 56, .c = 64, .k = 128, .r = 3, .s = 3, .stride = 2, .padding = 1}},
    {"c56x64_128_1x1s2", {.n = 1, .h = 56, .w = 56, .c = 64, .k = 128, .stride = 2}},
    {"c28x128_3x3", {.n = 1, .h = 28, .w = 28, .c = 128, .k = 128, .r = 3, .s = 3, .padding = 1}},
    {"c28x128_256_3x3s2", {.n = 1, .h = 28, .w = 28, .c = 128, .k = 256, .r = 3, .s = 3, .stride = 2, .padding = 1}},
    {"c28x128_256_1x1s2", {.n = 1, .h = 28, .w = 28, .c = 128, .k = 256, .stride = 2}},
    {"c14x256_3x3", {.n = 1, .h = 14, .w = 14, .c = 256, .k = 256, .r = 3, .s = 3, .padding = 1}},
    {"c14x256_512_3x3s2", {.n = 1, .h = 14, .w = 14, .c = 256, .k = 512, .r = 3, .s = 3, .stride = 2, .padding = 1}},
    {"c14x256_512_1x1s2", {.n = 1, .h = 14, .w = 14, .c = 256, .k = 512, .stride = 2}},
    {"c7x512_3x3", {.n = 1, .h = 7, .w = 7, .c = 512, .k = 512, .r = 3, .s = 3, .padding = 1}},
    {"c56x64_64_1x1", {.n = 1, .h = 56, .w = 56, .c = 64, .k = 64}},
    {"c56x64_256_1x1", {.n = 1, .h = 56, .w = 56, .c = 64, .k = 256}},
    {"c56x256_64_1x1", {.n = 1, .h = 56, .w = 56, .c = 256, .k = 64}},
    {"c56x256_128_1x1", {.n = 1, .h = 56, .w = 56, .c = 256, .k = 128}},
    {"c56x256_512_1x1s2", {.n = 1, .h = 56, .w = 56, .c = 256, .k = 512, .stride = 2}},
    {"c56x128_3x3s2", {.n = 1, .h = 56, .w = 56, .c = 128, .k = 128, .r = 3, .s = 3, .stride = 2, .padding = 1}},
    {"c28x128_512_1x1", {.n = 1, .h = 28, .w = 28, .c = 128, .k = 512}},
    {"c28x512_128_1x1", {.n = 1, .h = 28, .w = 28, .c = 512, .k = 128}},
    {"c28x512_256_1x1", {.n = 1, .h = 28, .w = 28, .c = 512, .k = 256}},
    {"c28x512_1024_1x1s2", {.n = 1, .h = 28, .w = 28, .c = 512, .k = 1024, .stride = 2}},
    {"c28x256_3x3s2", {.n = 1, .h = 28, .w = 28, .c = 256, .k = 256, .r = 3, .s = 3, .stride = 2, .padding = 1}},
    {"c14x256_1024_1x1", {.n = 1, .h = 14, .w = 14, .c = 256, .k = 1024}},
    {"c14x1024_256_1x1", {.n = 1, .h = 14, .w = 14, .c = 1024, .k = 256}},
    {"c14x1024_512_1x1", {.n = 1, .h = 14, .w = 14, .c = 1024, .k = 512}},
    {"c14x1024_2048_1x1s2", {.n = 1, .h = 14, .w = 14, .c = 1024, .k = 2048, .stride = 2}},
    {"c14x512_3x3s2", {.n = 1, .h = 14, .w = 14, .c = 512, .k = 512, .r = 3, .s = 3, .stride = 2, .padding = 1}},
    {"c7x512_2048_1x1", {.n = 1, .h = 7, .w = 7, .c = 512, .k = 2048}},
    {"c7x2048_512_1x1", {.n = 1, .h = 7, .w = 7, .c = 2048, .k = 512}},
    {"cifar_stem", {.n = 3, .h = 32, .w = 32, .c = 3, .k = 16, .r = 3, .s = 3, .padding = 1}},
    {"cifar_16", {.n = 5, .h = 32, .w = 32, .c = 16, .k = 16, .r = 3, .s = 3, .padding = 1}},
    {"odd_stem", {.n = 1, .h = 13, .w = 9, .c = 3, .k = 16, .r = 7, .s = 7, .stride = 2, .padding = 3}},
    {"odd_3x3s2", {.n = 2, .h = 15, .w = 11, .c = 32, .k = 48, .r = 3, .s = 3, .stride = 2, .padding = 1}},
    {"k_not_16", {.n = 2, .h = 9, .w = 9, .c = 32, .k = 10, .r = 3, .s = 3, .padding = 1}},
    {"c_not_16", {.n = 2, .h = 9, .w = 9, .c = 20, .k = 32, .r = 3, .s = 3, .padding = 1}},
    {"neither_16", {.n = 2, .h = 7, .w = 5, .c = 5, .k = 7, .r = 3, .s = 3, .padding = 1}},
    {"one_pixel", {.n = 2, .h = 1, .w = 1, .c = 64, .k = 32}},
    {"no_padding_5x5", {.n = 1, .h = 12, .w = 12, .c = 16, .k = 32, .r = 5, .s = 5}},
    {"resnext_32x4d", {.n = 1, .h = 14, .w = 14, .c = 128, .k = 128, .r = 3, .s = 3, .padding = 1, .groups = 32}},
    {"resnext_32x4d_s2",
     {.n = 1, .h = 14, .w = 14, .c = 256, .k = 256, .r = 3, .s = 3, .stride = 2, .padding = 1, .groups = 32}},
    {"resnext_32x32", {.n = 1, .h = 7, .w = 7, .c = 1024, .k = 1024, .r = 3, .s = 3, .padding = 1, .groups = 32}},
    {"groups_2", {.n = 1, .h = 8, .w = 8, .c = 64, .k = 32, .r = 3, .s = 3, .padding = 1, .groups = 2}},
};

Backend& device() {
  // The choices that tests force must not end up among the user's.
  static const bool isolated = setenv("XDG_CACHE_HOME", ::testing::TempDir().c_str(), 1) == 0;
  EXPECT_TRUE(isolated);
  return backend(test_device());
}

// The emulator multiplies a thousand times slower than a GPU: images of odd size, whose tiles have rests, say as much.
Conv2dShape for_device(Conv2dShape s) {
  if (test_device().type != DeviceType::emulated) return s;
  s.h = std::min<int64_t>(s.h, 13);
  s.w = std::min<int64_t>(s.w, 11);
  return s;
}

Shape x_shape(const Conv2dShape& s) {
  return {s.n, s.h, s.w, s.c};
}
Shape w_shape(const Conv2dShape& s) {
  return {s.k, s.r, s.s, s.c / s.groups};
}
Shape y_shape(const Conv2dShape& s) {
  return {s.n, s.p(), s.q(), s.k};
}

// All elements of small results, else some thousands, always the corners.
std::vector<int64_t> sample(int64_t count, int64_t terms) {
  const int64_t wanted = std::max<int64_t>(1'500'000 / std::max<int64_t>(terms, 1), 500);
  if (count <= wanted) return {};
  std::mt19937_64 generator(11);
  std::vector<int64_t> indices = {0, count - 1};
  while (static_cast<int64_t>(indices.size()) < wanted)
    indices.push_back(static_cast<int64_t>(generator() % static_cast<uint64_t>(count)));
  return indices;
}

struct Operands {
  Array x, w, dy;
};

struct Direction {
  ConvDirection id;
  Shape result;
  int64_t terms;
};

Direction direction(ConvDirection id, const Conv2dShape& s) {
  switch (id) {
    case ConvDirection::backward_data:
      return {id, x_shape(s), s.r * s.s * s.k / s.groups};
    case ConvDirection::backward_weights:
      return {id, w_shape(s), s.n * s.p() * s.q()};
    default:
      return {id, y_shape(s), s.r * s.s * s.c / s.groups};
  }
}

Expected reference(const Direction& d, const Conv2dShape& s, const Operands& o, const std::vector<int64_t>& indices) {
  Expected expected{{}, {}, d.terms};
  const int64_t count = indices.empty() ? d.result.numel() : static_cast<int64_t>(indices.size());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = indices.empty() ? i : indices[static_cast<size_t>(i)];
    const Sum sum = d.id == ConvDirection::backward_data      ? conv_backward_data_at(s, o.dy, o.w, index)
                    : d.id == ConvDirection::backward_weights ? conv_backward_weights_at(s, o.x, o.dy, index)
                                                              : conv_forward_at(s, o.x, o.w, index);
    expected.value.push_back(sum.value);
    expected.magnitude.push_back(sum.magnitude);
  }
  return expected;
}

Array run(ConvDirection id, const Conv2dShape& s, const Operands& o, DType dtype) {
  const Layout x_layout = device().activation_layout(x_shape(s), dtype);
  const Layout y_layout = device().activation_layout(y_shape(s), dtype);
  const Tensor w = tensor_of(o.w, w_shape(s));
  if (id == ConvDirection::backward_data) {
    const Tensor dx = empty_tensor(x_shape(s), dtype, x_layout);
    device().conv_backward_data(s, tensor_of(o.dy, y_shape(s), dtype, y_layout), w, dx);
    return array_of(dx);
  }
  if (id == ConvDirection::backward_weights) {
    const Tensor dw = empty_tensor(w_shape(s));
    device().conv_backward_weights(s, tensor_of(o.x, x_shape(s), dtype, x_layout),
                                   tensor_of(o.dy, y_shape(s), dtype, y_layout), dw, {});
    return array_of(dw);
  }
  const Tensor y = empty_tensor(y_shape(s), dtype, y_layout);
  device().conv_forward(s, tensor_of(o.x, x_shape(s), dtype, x_layout), w, {}, y);
  return array_of(y);
}

std::vector<std::string> implementations(const ConvProblem& problem) {
  if (on_cpu()) return cpu::conv_implementations(problem);
  std::vector<std::string> names = {"own"};
  try {
    device().force_implementation("cudnn");
    names.push_back("cudnn");
  } catch (const Error&) {
    // There is no cuDNN on this device.
  }
  return names;
}

void force(const ConvProblem& problem, const std::string& implementation) {
  if (!on_cpu()) return device().force_implementation(implementation);
  const nlohmann::json choice = {{"format", "engine-cpu-plans-1"}, {"plans", {{problem.text(), implementation}}}};
  device().import_plans(choice.dump());
}

bool missing_bf16(DType dtype) {
  return on_cpu() && dtype == DType::bf16 && !cpu::supports_bf16();
}

class ConvTest : public ::testing::TestWithParam<std::tuple<Case, DType>> {
 protected:
  void check_direction(ConvDirection id) {
    const auto& [test_case, dtype] = GetParam();
    if (missing_bf16(dtype)) GTEST_SKIP() << "this processor has no bf16 instructions";
    const Conv2dShape s = for_device(test_case.shape);
    set_num_threads(s.macs() < 40'000'000 ? 2 : 1);  // both ways of dividing the work, and no long waits in teams
    const Direction d = direction(id, s);
    const DType result_dtype = id == ConvDirection::backward_weights ? DType::f32 : dtype;
    const std::vector<int64_t> indices = sample(d.result.numel(), d.terms);

    const int64_t sparsity = std::max<int64_t>(d.terms / 32, 1);  // few enough terms that bf16 can hold the sum
    const Operands integers = {
        sparse_integers(x_shape(s).numel(), 1, id == ConvDirection::backward_weights ? sparsity : 1),
        sparse_integers(w_shape(s).numel(), 2, sparsity),
        sparse_integers(y_shape(s).numel(), 3, id == ConvDirection::backward_data ? 1 : 2)};
    const Operands normals = {normal_array(x_shape(s).numel(), dtype, 4), normal_array(w_shape(s).numel(), dtype, 5),
                              normal_array(y_shape(s).numel(), dtype, 6)};
    const Expected exact = reference(d, s, integers, indices), expected = reference(d, s, normals, indices);

    const ConvProblem problem = {.direction = id,
                                 .shape = s,
                                 .dtype = dtype,
                                 .x = device().activation_layout(x_shape(s), dtype),
                                 .y = device().activation_layout(y_shape(s), dtype)};
    const std::vector<std::string> names = implementations(problem);
    ASSERT_FALSE(names.empty());
    for (const std::string& name : names) {
      SCOPED_TRACE(name);
      force(problem, name);
      // Winograd's transforms divide: its sums are not exact even over integers.
      if (name.find("wino") == std::string::npos) {
        EXPECT_TRUE(equal_to(run(id, s, integers, dtype), rounded(exact.value, result_dtype), d.result, indices));
      }
      EXPECT_TRUE(close_to(run(id, s, normals, dtype), expected, result_dtype, d.result, indices));
    }
  }
};

TEST_P(ConvTest, Forward) {
  check_direction(ConvDirection::forward);
}
TEST_P(ConvTest, BackwardData) {
  check_direction(ConvDirection::backward_data);
}
TEST_P(ConvTest, BackwardWeights) {
  check_direction(ConvDirection::backward_weights);
}

INSTANTIATE_TEST_SUITE_P(Shapes, ConvTest,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(activation_types())),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param));
                         });

const Conv2dShape kSmall = {.n = 2, .h = 8, .w = 8, .c = 32, .k = 16, .r = 3, .s = 3, .padding = 1};

TEST(Conv, AddsTheBias) {
  const Array x = normal_array(x_shape(kSmall).numel(), DType::f32, 1);
  const Array w = normal_array(w_shape(kSmall).numel(), DType::f32, 2), bias = normal_array(16, DType::f32, 3);
  const Tensor y = make_activation(y_shape(kSmall), DType::f32, test_device());
  device().conv_forward(kSmall, tensor_of(x, x_shape(kSmall)), tensor_of(w, w_shape(kSmall)), tensor_of(bias, {16}), y);
  Expected expected = reference(direction(ConvDirection::forward, kSmall), kSmall, {x, w, {}}, {});
  for (size_t i = 0; i < expected.value.size(); ++i) {
    expected.value[i] += bias[i % 16];
    expected.magnitude[i] += std::abs(bias[i % 16]);
  }
  EXPECT_TRUE(close_to(array_of(y), expected, DType::f32, y_shape(kSmall)));
}

TEST(Conv, SumsTheGradientOfTheBias) {
  const Array x = normal_array(x_shape(kSmall).numel(), DType::f32, 1);
  const Array dy = normal_array(y_shape(kSmall).numel(), DType::f32, 2);
  const Tensor dw = empty_tensor(w_shape(kSmall)), dbias = empty_tensor({16});
  device().conv_backward_weights(kSmall, tensor_of(x, x_shape(kSmall)), tensor_of(dy, y_shape(kSmall)), dw, dbias);
  EXPECT_TRUE(close_to(array_of(dbias), channel_sums(dy, 16), DType::f32, {16}));
}

struct InferenceCase {
  const char* name;
  bool bias, residual, in_place, relu;
};

class ConvInferenceTest : public ::testing::TestWithParam<std::tuple<InferenceCase, DType>> {};

// What enters the product is rounded to the tested type, like any other input: on the CPU the filter with the scale
// folded in, on a GPU the filter, whose product is scaled in f32.
TEST_P(ConvInferenceTest, AppliesTheNormalisation) {
  const auto& [c, dtype] = GetParam();
  if (missing_bf16(dtype)) GTEST_SKIP() << "this processor has no bf16 instructions";
  const Conv2dShape& s = kSmall;
  const Array x = normal_array(x_shape(s).numel(), dtype, 1), w = normal_array(w_shape(s).numel(), DType::f32, 2);
  const Array gamma = normal_array(16, DType::f32, 3, 1, 0.2), beta = normal_array(16, DType::f32, 4);
  const Array mean = normal_array(16, DType::f32, 5), var = rounded(Array(16, 1.7), DType::f32);
  const Array bias = normal_array(16, DType::f32, 6), residual = normal_array(y_shape(s).numel(), dtype, 7);
  const Layout layout = device().activation_layout(y_shape(s), dtype);
  const Tensor filter = tensor_of(w, w_shape(s));
  ConvInference args = {.shape = s,
                        .x = tensor_of(x, x_shape(s), dtype, device().activation_layout(x_shape(s), dtype)),
                        .w = filter,
                        .bias = c.bias ? tensor_of(bias, {16}) : Tensor{},
                        .gamma = tensor_of(gamma, {16}),
                        .beta = tensor_of(beta, {16}),
                        .running_mean = tensor_of(mean, {16}),
                        .running_var = tensor_of(var, {16}),
                        .eps = 1e-5f,
                        .residual = {},
                        .relu = c.relu,
                        .y = empty_tensor(y_shape(s), dtype, layout)};
  const auto expect = [&](const Array& some_beta) {
    Array folded = w;
    const int64_t row = w_shape(s).numel() / 16;
    for (size_t i = 0; i < folded.size(); ++i) {
      const size_t k = i / static_cast<size_t>(row);
      const double scale = gamma[k] / std::sqrt(var[k] + double{1e-5f});
      folded[i] = on_cpu() ? rounded(w[i] * scale, dtype) : rounded(w[i], dtype) * scale;
    }
    Expected expected = reference(direction(ConvDirection::forward, s), s, {x, folded, {}}, {});
    for (size_t i = 0; i < expected.value.size(); ++i) {
      const size_t k = i % 16;
      const double shift =
          some_beta[k] + ((c.bias ? bias[k] : 0.0) - mean[k]) * gamma[k] / std::sqrt(var[k] + double{1e-5f});
      expected.value[i] += shift + (c.residual ? residual[i] : 0.0);
      expected.magnitude[i] += std::abs(shift) + (c.residual ? std::abs(residual[i]) : 0.0);
      if (c.relu) expected.value[i] = std::max(expected.value[i], 0.0);
    }
    return expected;
  };
  const auto compute = [&] {
    if (c.residual) args.residual = tensor_of(residual, y_shape(s), dtype, layout);
    if (c.in_place) args.y = args.residual;
    device().conv_inference(args);
    return array_of(args.y);
  };
  EXPECT_TRUE(close_to(compute(), expect(beta), dtype, y_shape(s)));
  EXPECT_TRUE(close_to(compute(), expect(beta), dtype, y_shape(s))) << "with the folded filter kept";
  const Array other = normal_array(16, DType::f32, 8);
  args.beta.copy_from(tensor_of(other, {16}));
  EXPECT_TRUE(close_to(compute(), expect(other), dtype, y_shape(s))) << "after a change of beta";
}

INSTANTIATE_TEST_SUITE_P(Conv, ConvInferenceTest,
                         ::testing::Combine(::testing::Values(InferenceCase{"plain", false, false, false, false},
                                                              InferenceCase{"bias_relu", true, false, false, true},
                                                              InferenceCase{"residual", false, true, false, false},
                                                              InferenceCase{"residual_relu", false, true, false, true},
                                                              InferenceCase{"in_place", false, true, true, true}),
                                            ::testing::ValuesIn(activation_types())),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param));
                         });

TEST(Conv, IsBitEqualFromRunToRun) {
  const Conv2dShape s = {.n = 2, .h = 14, .w = 14, .c = 64, .k = 64, .r = 3, .s = 3, .padding = 1};
  const Operands o = {normal_array(x_shape(s).numel(), DType::f32, 1), normal_array(w_shape(s).numel(), DType::f32, 2),
                      normal_array(y_shape(s).numel(), DType::f32, 3)};
  for (const auto id : {ConvDirection::forward, ConvDirection::backward_data, ConvDirection::backward_weights})
    EXPECT_EQ(run(id, s, o, DType::f32), run(id, s, o, DType::f32));
}

TEST(CpuConvPlan, ChoicesComeBackFromTheirText) {
  if (!on_cpu()) GTEST_SKIP() << "about the cpu";
  const ConvProblem problem = {.shape = kSmall, .x = Layout::blocked16, .y = Layout::blocked16};
  const auto names = cpu::conv_implementations(problem);
  ASSERT_GT(names.size(), 1u);
  cpu::ConvPlans plans;
  plans.import_json(nlohmann::json{{"format", "engine-cpu-plans-1"}, {"plans", {{problem.text(), names[1]}}}}.dump());
  cpu::ConvPlans others;
  others.import_json(plans.export_json());
  EXPECT_EQ(others.find(problem, {}).name(), names[1]);
}

TEST(CpuConvPlan, AChoiceThatIsNotOfferedIsMadeAnew) {
  if (!on_cpu()) GTEST_SKIP() << "about the cpu";
  device();
  const ConvProblem problem = {.shape = kSmall, .x = Layout::blocked16, .y = Layout::blocked16};
  const Tensor x = Tensor::zeros(x_shape(kSmall)), w = Tensor::zeros(w_shape(kSmall)),
               y = Tensor::zeros(y_shape(kSmall));
  cpu::ConvPlans plans;
  plans.import_json(
      nlohmann::json{{"format", "engine-cpu-plans-1"}, {"plans", {{problem.text(), "of another machine"}}}}.dump());
  const std::string& name = plans.find(problem, {.x = x.raw(), .y = y.raw(), .w = w.raw<float>()}).name();
  EXPECT_THAT(cpu::conv_implementations(problem), ::testing::Contains(name));
}

TEST(CpuConvPlan, RefusesOtherText) {
  if (!on_cpu()) GTEST_SKIP() << "about the cpu";
  cpu::ConvPlans plans;
  for (const char* text : {"", "{", "{}", R"({"format": "engine-cpu-plans-2", "plans": {}})", R"([1])"}) {
    try {
      plans.import_json(text);
      ADD_FAILURE() << "accepted " << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
      EXPECT_STREQ(e.what(), "import_plans: the text is not a list of the cpu's plans (format engine-cpu-plans-1)");
    }
  }
}

TEST(CpuConvPlan, DeterministicChoosesTheSameWithoutMeasuring) {
  if (!on_cpu()) GTEST_SKIP() << "about the cpu";
  const ConvProblem problem = {.shape = {.n = 2, .h = 14, .w = 14, .c = 64, .k = 64, .r = 3, .s = 3, .padding = 1},
                               .x = Layout::blocked16,
                               .y = Layout::blocked16};
  cpu::ConvPlans plans;
  plans.set_deterministic(true);
  // No operands: measuring would crash.
  EXPECT_EQ(plans.find(problem, {}).name(), [&] {
    cpu::ConvPlans others;
    others.set_deterministic(true);
    return others.find(problem, {}).name();
  }());
}

// What the library takes for itself; the engine's allocator does not go through malloc.
size_t library_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST(CpuConvPlan, PreparingAFilterLeavesNoScratchBehind) {
  if (!on_cpu()) GTEST_SKIP() << "about the cpu";
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer's malloc does not count";
#endif
  const Conv2dShape shape = {.n = 1, .h = 8, .w = 8, .c = 256, .k = 256, .r = 3, .s = 3, .padding = 1};
  const ConvProblem problem = {
      .direction = ConvDirection::inference, .shape = shape, .x = Layout::blocked16, .y = Layout::blocked16};
  const Tensor w = Tensor::zeros(w_shape(shape));
  cpu::ConvPlans plans;
  plans.set_deterministic(true);  // Winograd, whose filters need the most to be made
  const size_t before = library_bytes();
  const cpu::ConvPlan& plan = plans.find(problem, {});
  const Tensor prepared = Tensor::zeros({static_cast<int64_t>(plan.prepared_bytes() / sizeof(float))});
  plan.prepare(w.values<float>().data(), prepared.raw());
  EXPECT_LT(library_bytes(), before + w.bytes()) << plan.name();
}

TEST(CpuConvPlan, ACorruptFileCostsOnlyAMeasurement) {
  if (!on_cpu()) GTEST_SKIP() << "about the cpu";
  device();
  const std::filesystem::path path = cpu::plan_cache_path();
  std::filesystem::create_directories(path.parent_path());
  for (const char* text : {"", "not json", R"({"format": "engine-cpu-plans-1", "plans": {"a": 1}})"}) {
    FILE* file = std::fopen(path.c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fputs(text, file);
    std::fclose(file);
    const ConvProblem problem = {.shape = kSmall, .x = Layout::blocked16, .y = Layout::blocked16};
    const Tensor x = Tensor::zeros(x_shape(kSmall)), w = Tensor::zeros(w_shape(kSmall)),
                 y = Tensor::zeros(y_shape(kSmall));
    const cpu::ConvOperands operands = {.x = x.raw(), .y = y.raw(), .w = w.raw<float>()};
    cpu::ConvPlans plans;
    const std::string name = plans.find(problem, operands).name();
    cpu::ConvPlans later;  // reads what the first one wrote over the corrupt file; without operands it cannot measure
    EXPECT_EQ(later.find(problem, {}).name(), name);
  }
}

}  // namespace
}  // namespace engine::testing
