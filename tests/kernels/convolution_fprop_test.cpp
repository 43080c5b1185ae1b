// conv_fprop against loops in double precision: each kind of source, tile and epilogue.
#include "kernels/convolution.h"
#include "tests/kernels/convolution_cases.h"

namespace engine::testing {
namespace {

using namespace kernels;

struct Options {
  bool bias = false, affine = false, residual = false, in_place = false, relu = false, statistics = false;
};

class ConvForwardTest : public ::testing::TestWithParam<ConvParameters> {
 protected:
  const Conv2dShape shape = std::get<0>(GetParam()).shape;
  const DataType type = std::get<1>(GetParam());
  const Shape y_shape = {shape.n, shape.p(), shape.q(), shape.k};
};

// Of every part of y, mean and M2 of the values as stored.
void expect_statistics(const Array& partials, const Array& y, const RowParts& parts, int64_t channels) {
  const auto rows = static_cast<int64_t>(y.size()) / channels;
  ASSERT_EQ(parts.parts, (rows + parts.rows_per_part - 1) / parts.rows_per_part);
  for (int64_t part = 0; part < parts.parts; ++part) {
    const int64_t first = part * parts.rows_per_part, last = std::min(rows, first + parts.rows_per_part);
    Expected mean{Array(static_cast<size_t>(channels)), Array(static_cast<size_t>(channels)), last - first};
    Expected m2 = mean;
    Array means, m2s;
    for (int64_t c = 0; c < channels; ++c) {
      const auto at = static_cast<size_t>(c);
      const auto value = [&](int64_t row) { return y[static_cast<size_t>(row * channels + c)]; };
      for (int64_t row = first; row < last; ++row) {
        mean.value[at] += value(row) / static_cast<double>(last - first);
        mean.magnitude[at] += std::abs(value(row)) / static_cast<double>(last - first);
      }
      for (int64_t row = first; row < last; ++row) {
        const double difference = value(row) - mean.value[at];
        m2.value[at] += difference * difference;
        // A difference carries the roundings of both its terms.
        m2.magnitude[at] += (std::abs(value(row)) + mean.magnitude[at]) * (std::abs(value(row)) + mean.magnitude[at]);
      }
      means.push_back(partials[static_cast<size_t>(part * 2 * channels + c)]);
      m2s.push_back(partials[static_cast<size_t>((part * 2 + 1) * channels + c)]);
    }
    EXPECT_TRUE(close_to(means, mean, DType::f32, {channels})) << "mean of part " << part;
    EXPECT_TRUE(close_to(m2s, m2, DType::f32, {channels})) << "M2 of part " << part;
  }
}

// `convolution`: the reference without an epilogue, for `indices` (all elements if empty).
void check(const ConvTensors& tensors, const Options& options, const Expected& convolution,
           const std::vector<int64_t>& indices = {}) {
  const Conv2dShape& s = tensors.shape;
  const DataType type = tensors.type;
  const DeviceArray x(type, tensors.x()), w(type, tensors.w());
  const Array bias = conv_values(s.k, DataType::f32, 4, tensors.exact);
  const Array scale = conv_values(s.k, DataType::f32, 5, tensors.exact);
  const Array shift = conv_values(s.k, DataType::f32, 6, tensors.exact);
  const Array residual = conv_values(tensors.y_size, type, 7, tensors.exact);
  const DeviceArray device_bias(DataType::f32, bias), device_scale(DataType::f32, scale);
  const DeviceArray device_shift(DataType::f32, shift), device_residual(type, residual);
  const Guarded y = options.in_place ? Guarded(type, residual) : Guarded(type, tensors.y_size);
  const RowParts parts = conv_fprop_parts(s, type);
  const Guarded partials = floats(parts.parts * 2 * s.k);
  ASSERT_EQ(parts.bytes(s.k), static_cast<size_t>(parts.parts * 2 * s.k) * sizeof(float));

  const auto pointer = [](bool wanted, const DeviceArray& array) {
    return wanted ? static_cast<const float*>(array.data()) : nullptr;
  };
  ASSERT_TRUE(conv_fprop({.shape = s,
                          .type = type,
                          .tf32 = tensors.tf32,
                          .x = x.data(),
                          .w = w.data(),
                          .bias = pointer(options.bias, device_bias),
                          .scale = pointer(options.affine, device_scale),
                          .shift = pointer(options.affine, device_shift),
                          .residual = !options.residual  ? nullptr
                                      : options.in_place ? y.data()
                                                         : device_residual.data(),
                          .relu = options.relu,
                          .y = y.data(),
                          .partials = options.statistics ? partials.floats() : nullptr},
                         nullptr));

  Expected expected = convolution;
  for (size_t i = 0; i < expected.value.size(); ++i) {
    const auto index = indices.empty() ? i : static_cast<size_t>(indices[i]);
    const size_t k = index % static_cast<size_t>(s.k);
    double& value = expected.value[i];
    double& magnitude = expected.magnitude[i];
    const auto add = [&](double term) { value += term, magnitude += std::abs(term); };
    if (options.bias) add(bias[k]);
    if (options.affine) {
      value *= scale[k], magnitude *= std::abs(scale[k]);
      add(shift[k]);
    }
    if (options.residual) add(residual[index]);
    if (options.relu) value = std::max(value, 0.0);
  }
  const Array stored = y.values();
  EXPECT_TRUE(as_expected(stored, expected, type, {s.n, s.p(), s.q(), s.k}, tensors.exact, indices));
  const Array statistics = partials.values();
  if (options.statistics) expect_statistics(statistics, stored, parts, s.k);
}

TEST_P(ConvForwardTest, ExactOnIntegers) {
  const ConvTensors tensors{shape, type, true};
  const Array x = tensors.x(), w = tensors.w();
  const Expected convolution =
      conv_reference(tensors.y_size, tensors.depth, [&](int64_t index) { return conv_forward_at(shape, x, w, index); });
  check(tensors, {}, convolution);
  check(tensors, {.bias = true, .statistics = true}, convolution);
  check(tensors, {.affine = true, .residual = true, .in_place = true, .relu = true}, convolution);
  if (type == DataType::f32) check({shape, type, true, /*tf32=*/true}, {.statistics = true}, convolution);
}

// Operands that TF32 does not hold: 1 + 2^-12 counts as 1, 1 + 2^-11 as 1 + 2^-10.
TEST(ConvForward, RoundsToTf32) {
  const Conv2dShape s = {.n = 1, .h = 1, .w = 2, .c = 4, .k = 4};
  Array w(16);
  for (size_t i = 0; i < 4; ++i) w[i * 5] = 1;
  const DeviceArray x(DataType::f32, {1 + 0x1p-12, 1 + 0x1p-11, 1, 2, -1 - 0x1p-12, 0, 3, 4}), filter(DataType::f32, w);
  const Guarded y = floats(8);
  ASSERT_TRUE(conv_fprop({.shape = s, .tf32 = true, .x = x.data(), .w = filter.data(), .y = y.data()}, nullptr));
  EXPECT_EQ(y.values(), (Array{1, 1 + 0x1p-10, 1, 2, -1, 0, 3, 4}));
}

TEST_P(ConvForwardTest, WithinTheBound) {
  for (const bool tf32 : {false, true}) {
    if (tf32 && type != DataType::f32) continue;
    const ConvTensors tensors{shape, type, false, tf32};
    const Array x = tensors.x(), w = tensors.w();
    const Expected convolution = conv_reference(tensors.y_size, tensors.depth,
                                                [&](int64_t index) { return conv_forward_at(shape, x, w, index); });
    check(tensors, {.statistics = true}, convolution);
    check(tensors, {.bias = true, .affine = true, .residual = true, .relu = true}, convolution);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, ConvForwardTest,
                         ::testing::Combine(::testing::ValuesIn(kConvCases), ::testing::ValuesIn(kDataTypes)),
                         conv_test_name);

// Enough rows for the large tiles; a sample of the result is compared.
class LargeConvForwardTest : public ConvForwardTest {};

TEST_P(LargeConvForwardTest, ExactOnIntegers) {
  const ConvTensors tensors{shape, type, true};
  const Array x = tensors.x(), w = tensors.w();
  const std::vector<int64_t> indices = sampled(tensors.y_size, 20000);
  const Expected convolution =
      conv_reference(indices, tensors.depth, [&](int64_t index) { return conv_forward_at(shape, x, w, index); });
  check(tensors, {.bias = true, .residual = true, .relu = true, .statistics = true}, convolution, indices);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, LargeConvForwardTest,
    ::testing::Combine(
        ::testing::Values(
            ConvCase{"128x128", {.n = 1, .h = 93, .w = 91, .c = 40, .k = 256}},
            ConvCase{"128x64",
                     {.n = 2, .h = 70, .w = 61, .c = 16, .k = 128, .r = 3, .s = 1, .padding = 1, .groups = 2}}),
        ::testing::Values(DataType::bf16, DataType::f16)),
    conv_test_name);

TEST(ConvForward, KeepsNan) {
  const Conv2dShape s = {.n = 1, .h = 1, .w = 2, .c = 8, .k = 8};
  Array x(16, 1.0);
  x[3] = std::nan("");
  const DeviceArray image(DataType::bf16, x), filter(DataType::bf16, Array(64, 1.0));
  const Guarded y(DataType::bf16, 16);
  ASSERT_TRUE(conv_fprop(
      {.shape = s, .type = DataType::bf16, .x = image.data(), .w = filter.data(), .relu = true, .y = y.data()},
      nullptr));
  const Array values = y.values();
  for (size_t i = 0; i < 8; ++i) EXPECT_TRUE(std::isnan(values[i])) << i;
  for (size_t i = 8; i < 16; ++i) EXPECT_EQ(values[i], 8) << i;
}

TEST(ConvForward, RefusesWhatItCannotDo) {
  const Conv2dShape s = {.n = 1, .h = 4, .w = 4, .c = 8, .k = 8, .r = 3, .s = 3, .padding = 1};
  const DeviceArray x(DataType::f32, 129), w(DataType::f32, 8 * 9 * 8), channels(DataType::f32, 8);
  const Guarded y(DataType::f32, 16 * 8);
  const ConvForward good = {.shape = s, .type = DataType::f32, .x = x.data(), .w = w.data(), .y = y.data()};
  const auto refused = [&](auto change) {
    ConvForward args = good;
    change(args);
    return !conv_fprop(args, nullptr);
  };
  const auto* some = static_cast<const float*>(channels.data());
  EXPECT_TRUE(refused([](ConvForward& a) { a.x = nullptr; }));
  EXPECT_TRUE(refused([](ConvForward& a) { a.w = nullptr; }));
  EXPECT_TRUE(refused([](ConvForward& a) { a.y = nullptr; }));
  EXPECT_TRUE(refused([&](ConvForward& a) { a.scale = some; }));
  EXPECT_TRUE(refused([&](ConvForward& a) { a.shift = some; }));
  EXPECT_TRUE(refused([&](ConvForward& a) { a.x = static_cast<const char*>(a.x) + 4; }));
  EXPECT_TRUE(refused([](ConvForward& a) { a.shape.n = 0; }));
  EXPECT_TRUE(refused([](ConvForward& a) { a.shape.h = 0; }));
  EXPECT_TRUE(refused([](ConvForward& a) { a.shape.k = 0; }));
  EXPECT_TRUE(refused([](ConvForward& a) { a.shape.stride = 0; }));
  EXPECT_TRUE(refused([](ConvForward& a) { a.shape.padding = -1; }));
  EXPECT_TRUE(refused([](ConvForward& a) { a.shape.groups = 3; }));
  EXPECT_TRUE(refused([](ConvForward& a) { a.type = static_cast<DataType>(3); }));
  EXPECT_TRUE(refused([](ConvForward& a) { a.shape.r = 7; }));
  EXPECT_TRUE(refused([](ConvForward& a) { a.shape.n = int64_t{1} << 27; }));
  for (const double value : y.values()) EXPECT_TRUE(std::isnan(value));
}

TEST(ConvForward, Cost) {
  const Conv2dShape s = {
      .n = 2, .h = 4, .w = 4, .c = 8, .k = 16, .r = 3, .s = 3, .stride = 2, .padding = 1, .groups = 2};
  ConvForward args = {.shape = s, .type = DataType::bf16};
  EXPECT_EQ(conv_fprop_cost(args).flops, 2 * 2 * 2 * 2 * 16 * 9 * 4);
  EXPECT_EQ(conv_fprop_cost(args).bytes, 2 * (2 * 16 * 8 + 16 * 9 * 4 + 2 * 4 * 16));
  args.residual = &args;
  EXPECT_EQ(conv_fprop_cost(args).bytes, 2 * (2 * 16 * 8 + 16 * 9 * 4 + 2 * 2 * 4 * 16));
}

}  // namespace
}  // namespace engine::testing
