// conv_dgrad against loops in double precision: each kind of source, tile, stride and epilogue.
#include "kernels/convolution.h"
#include "tests/kernels/convolution_cases.h"

namespace engine::testing {
namespace {

using namespace kernels;

struct Options {
  bool shortcut = false, mask = false, sums = false;
  enum class Output { own, shortcut, mask, bn_x } output = Output::own;  // which tensor dx overwrites
};

class ConvBackwardDataTest : public ::testing::TestWithParam<ConvParameters> {
 protected:
  const Conv2dShape shape = std::get<0>(GetParam()).shape;
  const DataType type = std::get<1>(GetParam());
};

// The parts together, against dz as stored.
void expect_sums(const Array& partials, const Array& dz, const Array& bn_x, const Array& mean) {
  const size_t channels = mean.size();
  const auto rows = static_cast<int64_t>(dz.size() / channels);
  Array sum(channels), product(channels);
  for (size_t i = 0; i < partials.size(); ++i) (i / channels % 2 == 0 ? sum : product)[i % channels] += partials[i];
  Expected expected_product{Array(channels), Array(channels), rows};
  for (size_t i = 0; i < dz.size(); ++i) {
    const size_t c = i % channels;
    expected_product.value[c] += dz[i] * (bn_x[i] - mean[c]);
    expected_product.magnitude[c] += std::abs(dz[i]) * (std::abs(bn_x[i]) + std::abs(mean[c]));
  }
  const auto count = static_cast<int64_t>(channels);
  EXPECT_TRUE(close_to(sum, channel_sums(dz, count), DType::f32, {count})) << "sum dz";
  EXPECT_TRUE(close_to(product, expected_product, DType::f32, {count})) << "sum dz * (bn_x - mean)";
}

// `convolution`: the reference without an epilogue, for `indices` (all elements if empty).
void check(const ConvTensors& tensors, const Options& options, const Expected& convolution,
           const std::vector<int64_t>& indices = {}) {
  const Conv2dShape& s = tensors.shape;
  const DataType type = tensors.type;
  const DeviceArray dy(type, tensors.dy()), w(type, tensors.w());
  const Array shortcut = conv_values(tensors.x_size, type, 4, tensors.exact);
  const Array mask = conv_values(tensors.x_size, type, 5, tensors.exact);
  const Array bn_x = conv_values(tensors.x_size, type, 6, tensors.exact);
  const Array mean = conv_values(s.c, DataType::f32, 7, tensors.exact);
  const Guarded device_shortcut(type, shortcut), device_mask(type, mask), device_bn_x(type, bn_x);
  const DeviceArray device_mean(DataType::f32, mean);
  const Guarded own(type, tensors.x_size);
  const Guarded& dx = options.output == Options::Output::shortcut ? device_shortcut
                      : options.output == Options::Output::mask   ? device_mask
                      : options.output == Options::Output::bn_x   ? device_bn_x
                                                                  : own;
  const RowParts parts = conv_dgrad_parts(s, type);
  ASSERT_EQ(parts.bytes(s.c), static_cast<size_t>(parts.parts * 2 * s.c) * sizeof(float));
  const Guarded partials = floats(parts.parts * 2 * s.c);

  ASSERT_TRUE(conv_dgrad({.shape = s,
                          .type = type,
                          .tf32 = tensors.tf32,
                          .dy = dy.data(),
                          .w = w.data(),
                          .shortcut = options.shortcut ? device_shortcut.data() : nullptr,
                          .mask = options.mask ? device_mask.data() : nullptr,
                          .bn_x = options.sums ? device_bn_x.data() : nullptr,
                          .bn_mean = options.sums ? static_cast<const float*>(device_mean.data()) : nullptr,
                          .dx = dx.data(),
                          .partials = options.sums ? partials.floats() : nullptr},
                         nullptr));

  Expected expected = convolution;
  for (size_t i = 0; i < expected.value.size(); ++i) {
    const auto index = indices.empty() ? i : static_cast<size_t>(indices[i]);
    if (options.shortcut) {
      expected.value[i] += shortcut[index];
      expected.magnitude[i] += std::abs(shortcut[index]);
    }
    if (options.mask && !(mask[index] > 0)) expected.value[i] = 0;
  }
  const Array stored = dx.values();
  EXPECT_TRUE(as_expected(stored, expected, type, {s.n, s.h, s.w, s.c}, tensors.exact, indices));
  const Array sums = partials.values();
  if (options.sums) expect_sums(sums, stored, bn_x, mean);
}

TEST_P(ConvBackwardDataTest, ExactOnIntegers) {
  const ConvTensors tensors{shape, type, true};
  const Array dy = tensors.dy(), w = tensors.w();
  const Expected convolution = conv_reference(
      tensors.x_size, tensors.depth, [&](int64_t index) { return conv_backward_data_at(shape, dy, w, index); });
  check(tensors, {}, convolution);
  check(tensors, {.shortcut = true, .output = Options::Output::shortcut}, convolution);
  if (type == DataType::f32) check({shape, type, true, /*tf32=*/true}, {}, convolution);
  check(tensors, {.shortcut = true, .mask = true, .sums = true, .output = Options::Output::mask}, convolution);
}

TEST_P(ConvBackwardDataTest, WithinTheBound) {
  for (const bool tf32 : {false, true}) {
    if (tf32 && type != DataType::f32) continue;
    const ConvTensors tensors{shape, type, false, tf32};
    const Array dy = tensors.dy(), w = tensors.w();
    const int64_t terms = shape.r * shape.s * (shape.k / shape.groups);
    const Expected convolution = conv_reference(
        tensors.x_size, terms, [&](int64_t index) { return conv_backward_data_at(shape, dy, w, index); });
    check(tensors, {.mask = true, .sums = true, .output = Options::Output::bn_x}, convolution);
    check(tensors, {.shortcut = true, .mask = true, .sums = true}, convolution);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, ConvBackwardDataTest,
                         ::testing::Combine(::testing::ValuesIn(kConvCases), ::testing::ValuesIn(kDataTypes)),
                         conv_test_name);

// Enough rows for the large tiles; a sample of the result is compared.
class LargeConvBackwardDataTest : public ConvBackwardDataTest {};

TEST_P(LargeConvBackwardDataTest, ExactOnIntegers) {
  const ConvTensors tensors{shape, type, true};
  const Array dy = tensors.dy(), w = tensors.w();
  const std::vector<int64_t> indices = sampled(tensors.x_size, 20000);
  const Expected convolution =
      conv_reference(indices, tensors.depth, [&](int64_t index) { return conv_backward_data_at(shape, dy, w, index); });
  check(tensors, {.shortcut = true, .mask = true, .sums = true}, convolution, indices);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, LargeConvBackwardDataTest,
    ::testing::Combine(
        ::testing::Values(
            ConvCase{"128x128", {.n = 1, .h = 93, .w = 91, .c = 256, .k = 40}},
            ConvCase{"128x64", {.n = 2, .h = 70, .w = 61, .c = 128, .k = 16, .r = 3, .padding = 1, .groups = 2}},
            ConvCase{"128x128_s2", {.n = 1, .h = 93, .w = 91, .c = 256, .k = 40, .r = 2, .s = 2, .stride = 2}}),
        ::testing::Values(DataType::bf16, DataType::f16)),
    conv_test_name);

TEST(ConvBackwardData, RefusesWhatItCannotDo) {
  const Conv2dShape s = {.n = 1, .h = 4, .w = 4, .c = 8, .k = 8, .r = 3, .s = 3, .padding = 1};
  const DeviceArray dy(DataType::f32, 129), w(DataType::f32, 8 * 9 * 8), bn_x(DataType::f32, 16 * 8);
  const DeviceArray mean(DataType::f32, 8), partials(DataType::f32, 16);
  const Guarded dx(DataType::f32, 16 * 8);
  const ConvBackwardData good = {.shape = s,
                                 .type = DataType::f32,
                                 .dy = dy.data(),
                                 .w = w.data(),
                                 .bn_x = bn_x.data(),
                                 .bn_mean = static_cast<const float*>(mean.data()),
                                 .dx = dx.data(),
                                 .partials = static_cast<float*>(partials.data())};
  const auto refused = [&](auto change) {
    ConvBackwardData args = good;
    change(args);
    return !conv_dgrad(args, nullptr);
  };
  EXPECT_TRUE(refused([](ConvBackwardData& a) { a.dy = nullptr; }));
  EXPECT_TRUE(refused([](ConvBackwardData& a) { a.w = nullptr; }));
  EXPECT_TRUE(refused([](ConvBackwardData& a) { a.dx = nullptr; }));
  EXPECT_TRUE(refused([](ConvBackwardData& a) { a.bn_x = nullptr; }));
  EXPECT_TRUE(refused([](ConvBackwardData& a) { a.bn_mean = nullptr; }));
  EXPECT_TRUE(refused([](ConvBackwardData& a) { a.partials = nullptr; }));
  EXPECT_TRUE(refused([](ConvBackwardData& a) { a.dy = static_cast<const char*>(a.dy) + 4; }));
  EXPECT_TRUE(refused([](ConvBackwardData& a) { a.shape.groups = 3; }));
  EXPECT_TRUE(refused([](ConvBackwardData& a) { a.type = static_cast<DataType>(3); }));
  for (const double value : dx.values()) EXPECT_TRUE(std::isnan(value));
}

TEST(ConvBackwardData, Cost) {
  const Conv2dShape s = {
      .n = 2, .h = 4, .w = 4, .c = 8, .k = 16, .r = 3, .s = 3, .stride = 2, .padding = 1, .groups = 2};
  ConvBackwardData args = {.shape = s, .type = DataType::bf16};
  EXPECT_EQ(conv_dgrad_cost(args).flops, 2 * 2 * 2 * 2 * 16 * 9 * 4);
  EXPECT_EQ(conv_dgrad_cost(args).bytes, 2 * (2 * 16 * 8 + 16 * 9 * 4 + 2 * 4 * 16));
  args.shortcut = args.mask = args.bn_x = &args;
  EXPECT_EQ(conv_dgrad_cost(args).bytes, 2 * (4 * 2 * 16 * 8 + 16 * 9 * 4 + 2 * 4 * 16));
}

}  // namespace
}  // namespace engine::testing
