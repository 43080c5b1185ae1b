// Batch normalisation against double precision: each launch, and the chain of them.
#include "kernels/batch_norm.h"

#include <cmath>
#include <string>

#include "tests/kernels/guarded.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

using namespace kernels;

struct Case {
  const char* name;
  int64_t rows, channels;
  double mean = 0;  // of x: large against its deviation, sums of squares would cancel
};

const Case kCases[] = {
    {"vectors", 105, 48},        {"many_parts", 2000, 16}, {"far_from_zero", 324, 32, 100}, {"ten_channels", 105, 10},
    {"twenty_channels", 67, 20}, {"few_rows", 9, 64},      {"several_tiles", 40, 520},      {"one_row", 1, 8}};

// What a normalisation keeps of its forward pass.
struct Statistics {
  Guarded mean, rstd, scale, shift;
};

class BatchNormChainTest : public ::testing::TestWithParam<std::tuple<Case, DataType, int64_t>> {
 protected:
  int64_t rows = std::get<0>(GetParam()).rows, channels = std::get<0>(GetParam()).channels;
  int64_t count = rows * channels;
  DataType type = std::get<1>(GetParam());
  DType dtype = dtype_of(type);
  int64_t offset = std::get<2>(GetParam());
  Shape shape{rows, channels};
  RowParts parts = batch_norm_parts(rows, channels);
  int64_t num_partials = static_cast<int64_t>(parts.bytes(channels) / sizeof(float));

  Array x = normal_array(count, dtype, 1, std::get<0>(GetParam()).mean);
  Array residual = normal_array(count, dtype, 2), dy = normal_array(count, dtype, 3);
  Array gamma = normal_array(channels, DType::f32, 4, 1, 0.3), beta = normal_array(channels, DType::f32, 5);

  Guarded activation(const Array& values) const { return Guarded(type, values, offset); }
  Guarded activation() const { return Guarded(type, count, offset); }
  Guarded per_channel(const Array& values) const { return floats_of(values, offset); }
  Guarded per_channel() const { return floats(channels, offset); }
  ::testing::AssertionResult close(const Guarded& result, const Expected& expected) const {
    return close_to(result.values(), expected, dtype, shape);
  }

  Statistics statistics(const Guarded& on_x) const {
    Statistics s{per_channel(), per_channel(), per_channel(), per_channel()};
    const Guarded partials = floats(num_partials), on_gamma = per_channel(gamma), on_beta = per_channel(beta);
    EXPECT_TRUE(batch_norm_statistics(
        {.type = type, .rows = rows, .channels = channels, .x = on_x.data(), .partials = partials.floats()}, nullptr));
    partials.values();
    EXPECT_TRUE(batch_norm_finalize({.rows = rows,
                                     .channels = channels,
                                     .partials = partials.floats(),
                                     .parts = parts,
                                     .gamma = on_gamma.floats(),
                                     .beta = on_beta.floats(),
                                     .mean = s.mean.floats(),
                                     .rstd = s.rstd.floats(),
                                     .scale = s.scale.floats(),
                                     .shift = s.shift.floats()},
                                    nullptr));
    partials.values();
    return s;
  }

  // The coefficients of dx.
  struct Coefficients {
    Guarded a, b, c;
  };
  Coefficients finalized(const Guarded& partials, const Statistics& s, bool training, const Guarded& dgamma,
                         const Guarded& dbeta) const {
    Coefficients k{per_channel(), per_channel(), per_channel()};
    const Guarded on_gamma = per_channel(gamma);
    EXPECT_TRUE(batch_norm_backward_finalize({.rows = rows,
                                              .channels = channels,
                                              .partials = partials.floats(),
                                              .parts = parts,
                                              .gamma = on_gamma.floats(),
                                              .rstd = s.rstd.floats(),
                                              .training = training,
                                              .dgamma = dgamma.floats(),
                                              .dbeta = dbeta.floats(),
                                              .a = k.a.floats(),
                                              .b = k.b.floats(),
                                              .c = k.c.floats()},
                                             nullptr));
    partials.values();
    return k;
  }
};

TEST_P(BatchNormChainTest, Forward) {
  const Guarded on_x = activation(x), on_residual = activation(residual);
  const Statistics s = statistics(on_x);
  for (const bool with_residual : {false, true})
    for (const bool with_relu : {false, true}) {
      const BatchNormReference expected(x, gamma, beta, with_residual ? residual : Array{}, with_relu, double{1e-5f});
      const Guarded y = activation();
      BatchNormNormalize args = {.type = type,
                                 .rows = rows,
                                 .channels = channels,
                                 .x = on_x.data(),
                                 .scale = s.scale.floats(),
                                 .shift = s.shift.floats(),
                                 .residual = with_residual ? on_residual.data() : nullptr,
                                 .relu = with_relu,
                                 .y = y.data()};
      ASSERT_TRUE(batch_norm_normalize(args, nullptr));
      EXPECT_TRUE(close(y, expected.y)) << (with_residual ? "residual " : "") << (with_relu ? "ReLU" : "");
      const Guarded x_copy = activation(x), residual_copy = activation(residual);
      args.x = x_copy.data(), args.y = x_copy.data();
      ASSERT_TRUE(batch_norm_normalize(args, nullptr));
      EXPECT_EQ(x_copy.values(), y.values()) << "in place of x";
      if (!with_residual) continue;
      args.x = on_x.data(), args.residual = residual_copy.data(), args.y = residual_copy.data();
      ASSERT_TRUE(batch_norm_normalize(args, nullptr));
      EXPECT_EQ(residual_copy.values(), y.values()) << "in place of the residual";
    }
}

TEST_P(BatchNormChainTest, ForwardWithASecondBranch) {
  const Guarded on_x = activation(x), second_x = activation(residual);
  const Statistics s = statistics(on_x), t = statistics(second_x);
  const BatchNormReference one(x, gamma, beta, {}, false, double{1e-5f});
  const BatchNormReference two(residual, gamma, beta, {}, false, double{1e-5f});
  Expected expected = one.y;
  for (size_t i = 0; i < expected.value.size(); ++i) {
    expected.value[i] = std::max(one.y.value[i] + two.y.value[i], 0.0);
    expected.magnitude[i] += two.y.magnitude[i];
  }
  const Guarded y = activation();
  ASSERT_TRUE(batch_norm_normalize({.type = type,
                                    .rows = rows,
                                    .channels = channels,
                                    .x = on_x.data(),
                                    .scale = s.scale.floats(),
                                    .shift = s.shift.floats(),
                                    .residual = second_x.data(),
                                    .residual_scale = t.scale.floats(),
                                    .residual_shift = t.shift.floats(),
                                    .relu = true,
                                    .y = y.data()},
                                   nullptr));
  EXPECT_TRUE(close(y, expected));
}

TEST_P(BatchNormChainTest, StatisticsAndRunningStatistics) {
  const Array shifts = normal_array(channels, DType::f32, 6);
  const Guarded on_x = activation(x), partials = floats(num_partials), on_gamma = per_channel(gamma);
  const Guarded on_beta = per_channel(beta), mean_shift = per_channel(shifts);
  const Guarded running_mean = per_channel(Array(static_cast<size_t>(channels), 0.5));
  const Guarded running_var = per_channel(Array(static_cast<size_t>(channels), 2));
  const Statistics s{per_channel(), per_channel(), per_channel(), per_channel()};
  ASSERT_TRUE(batch_norm_statistics(
      {.type = type, .rows = rows, .channels = channels, .x = on_x.data(), .partials = partials.floats()}, nullptr));
  BatchNormFinalize args = {.rows = rows,
                            .channels = channels,
                            .partials = partials.floats(),
                            .parts = parts,
                            .gamma = on_gamma.floats(),
                            .beta = on_beta.floats(),
                            .mean_shift = mean_shift.floats(),
                            .momentum = 0.25f,
                            .eps = 1e-3f,
                            .running_mean = running_mean.floats(),
                            .running_var = running_var.floats(),
                            .mean = s.mean.floats(),
                            .rstd = s.rstd.floats(),
                            .scale = s.scale.floats(),
                            .shift = s.shift.floats()};
  ASSERT_TRUE(batch_norm_finalize(args, nullptr));

  const BatchNormReference expected(x, gamma, beta, {}, false, double{1e-3f});
  const Expected mean{expected.mean, expected.mean_abs, rows};
  EXPECT_TRUE(close_to(s.mean.values(), mean, DType::f32, {channels}));
  Expected rstd = Expected::elementwise(expected.rstd), var = Expected::elementwise(expected.unbiased_var);
  rstd.terms = var.terms = rows;
  EXPECT_TRUE(close_to(s.rstd.values(), rstd, DType::f32, {channels}));
  Expected running{expected.mean, expected.mean_abs, rows}, scale = rstd, shift{beta, beta, rows};
  for (size_t c = 0; c < gamma.size(); ++c) {
    running.value[c] = 0.75 * 0.5 + 0.25 * (running.value[c] + shifts[c]);
    running.magnitude[c] = 0.5 + running.magnitude[c] + std::abs(shifts[c]);
    var.value[c] = 0.75 * 2 + 0.25 * var.value[c];
    var.magnitude[c] = var.value[c];
    scale.value[c] *= gamma[c], scale.magnitude[c] *= std::abs(gamma[c]);
    shift.value[c] = beta[c] - expected.mean[c] * scale.value[c];
    shift.magnitude[c] = std::abs(beta[c]) + 2 * expected.mean_abs[c] * std::abs(scale.value[c]);
  }
  EXPECT_TRUE(close_to(running_mean.values(), running, DType::f32, {channels}));
  EXPECT_TRUE(close_to(running_var.values(), var, DType::f32, {channels}));
  EXPECT_TRUE(close_to(s.scale.values(), scale, DType::f32, {channels}));
  EXPECT_TRUE(close_to(s.shift.values(), shift, DType::f32, {channels}));

  // Inference: the running statistics are used, and stay.
  const Array kept_mean = running_mean.values(), kept_var = running_var.values();
  args.partials = nullptr;
  ASSERT_TRUE(batch_norm_finalize(args, nullptr));
  EXPECT_EQ(running_mean.values(), kept_mean);
  EXPECT_EQ(running_var.values(), kept_var);
  EXPECT_EQ(s.mean.values(), kept_mean);
  for (size_t c = 0; c < gamma.size(); ++c) rstd.value[c] = 1 / std::sqrt(kept_var[c] + double{1e-3f});
  EXPECT_TRUE(close_to(s.rstd.values(), Expected::elementwise(rstd.value), DType::f32, {channels}));
}

TEST_P(BatchNormChainTest, Backward) {
  const Guarded on_x = activation(x), on_dy = activation(dy);
  const Statistics s = statistics(on_x);
  const Guarded y = activation();
  ASSERT_TRUE(batch_norm_normalize({.type = type,
                                    .rows = rows,
                                    .channels = channels,
                                    .x = on_x.data(),
                                    .scale = s.scale.floats(),
                                    .shift = s.shift.floats(),
                                    .relu = true,
                                    .y = y.data()},
                                   nullptr));
  for (const bool masked : {false, true})
    for (const bool training : {true, false}) {
      SCOPED_TRACE(std::string(masked ? "ReLU, " : "") + (training ? "training" : "fixed statistics"));
      const BatchNormGradients expected(dy, masked ? y.values() : Array{}, x, gamma, s.mean.values(), s.rstd.values(),
                                        training);
      const Guarded partials = floats(num_partials), dgamma = per_channel(), dbeta = per_channel();
      const Guarded dresidual = activation(), dx = activation();
      BatchNormBackwardReduce reduce = {.type = type,
                                        .rows = rows,
                                        .channels = channels,
                                        .dy = on_dy.data(),
                                        .y = masked ? y.data() : nullptr,
                                        .x = on_x.data(),
                                        .mean = s.mean.floats(),
                                        .partials = partials.floats(),
                                        .dresidual = dresidual.data()};
      ASSERT_TRUE(batch_norm_backward_reduce(reduce, nullptr));
      EXPECT_TRUE(equal_to(dresidual.values(), expected.dresidual.value, shape));
      const Array first_partials = partials.values();
      const Coefficients k = finalized(partials, s, training, dgamma, dbeta);
      EXPECT_TRUE(close_to(dgamma.values(), expected.dgamma, DType::f32, {channels}));
      EXPECT_TRUE(close_to(dbeta.values(), expected.dbeta, DType::f32, {channels}));
      BatchNormBackwardApply apply = {.type = type,
                                      .rows = rows,
                                      .channels = channels,
                                      .dy = on_dy.data(),
                                      .y = masked ? y.data() : nullptr,
                                      .x = on_x.data(),
                                      .mean = s.mean.floats(),
                                      .a = k.a.floats(),
                                      .b = k.b.floats(),
                                      .c = k.c.floats(),
                                      .dx = dx.data()};
      ASSERT_TRUE(batch_norm_backward_apply(apply, nullptr));
      EXPECT_TRUE(close(dx, expected.dx));

      const Guarded dy_copy = activation(dy), x_copy = activation(x), again = activation();
      reduce.dy = dy_copy.data(), reduce.dresidual = dy_copy.data();
      ASSERT_TRUE(batch_norm_backward_reduce(reduce, nullptr));
      EXPECT_EQ(dy_copy.values(), dresidual.values()) << "in place of dy";
      EXPECT_EQ(partials.values(), first_partials) << "the same sums";
      apply.dy = dresidual.data(), apply.y = nullptr, apply.dx = again.data();
      ASSERT_TRUE(batch_norm_backward_apply(apply, nullptr));
      EXPECT_EQ(again.values(), dx.values()) << "from dresidual";
      apply.dx = dresidual.data();
      ASSERT_TRUE(batch_norm_backward_apply(apply, nullptr));
      EXPECT_EQ(dresidual.values(), dx.values()) << "in place of dy";
      apply.dy = dy_copy.data(), apply.x = x_copy.data(), apply.dx = x_copy.data();
      ASSERT_TRUE(batch_norm_backward_apply(apply, nullptr));
      EXPECT_EQ(x_copy.values(), dx.values()) << "in place of x";
    }
}

TEST_P(BatchNormChainTest, BackwardWithASecondBranch) {
  const Guarded on_x = activation(x), second_x = activation(residual), on_dy = activation(dy);
  const Statistics s = statistics(on_x), t = statistics(second_x);
  const Array mask = normal_array(count, dtype, 7);
  const Guarded y = activation(mask);
  const BatchNormGradients one(dy, mask, x, gamma, s.mean.values(), s.rstd.values(), true);
  const BatchNormGradients two(dy, mask, residual, gamma, t.mean.values(), t.rstd.values(), true);
  const Guarded partials = floats(num_partials), second_partials = floats(num_partials);
  ASSERT_TRUE(batch_norm_backward_reduce({.type = type,
                                          .rows = rows,
                                          .channels = channels,
                                          .dy = on_dy.data(),
                                          .y = y.data(),
                                          .x = on_x.data(),
                                          .mean = s.mean.floats(),
                                          .partials = partials.floats(),
                                          .second_x = second_x.data(),
                                          .second_mean = t.mean.floats(),
                                          .second_partials = second_partials.floats()},
                                         nullptr));
  const Guarded dgamma = per_channel(), dbeta = per_channel(), second_dgamma = per_channel();
  const Guarded second_dbeta = per_channel(), dx = activation(), second_dx = activation();
  const Coefficients k = finalized(partials, s, true, dgamma, dbeta);
  const Coefficients l = finalized(second_partials, t, true, second_dgamma, second_dbeta);
  EXPECT_TRUE(close_to(dgamma.values(), one.dgamma, DType::f32, {channels}));
  EXPECT_TRUE(close_to(second_dgamma.values(), two.dgamma, DType::f32, {channels}));
  EXPECT_EQ(dbeta.values(), second_dbeta.values());
  BatchNormBackwardApply apply = {.type = type,
                                  .rows = rows,
                                  .channels = channels,
                                  .dy = on_dy.data(),
                                  .y = y.data(),
                                  .x = on_x.data(),
                                  .mean = s.mean.floats(),
                                  .a = k.a.floats(),
                                  .b = k.b.floats(),
                                  .c = k.c.floats(),
                                  .dx = dx.data(),
                                  .second_x = second_x.data(),
                                  .second_mean = t.mean.floats(),
                                  .second_a = l.a.floats(),
                                  .second_b = l.b.floats(),
                                  .second_c = l.c.floats(),
                                  .second_dx = second_dx.data()};
  ASSERT_TRUE(batch_norm_backward_apply(apply, nullptr));
  EXPECT_TRUE(close(dx, one.dx));
  EXPECT_TRUE(close(second_dx, two.dx));
  apply.dx = on_dy.data(), apply.second_dx = second_x.data();
  ASSERT_TRUE(batch_norm_backward_apply(apply, nullptr));
  EXPECT_EQ(on_dy.values(), dx.values()) << "in place of dy";
  EXPECT_EQ(second_x.values(), second_dx.values()) << "in place of the second x";
}

// With small integers and powers of two nothing is rounded.
TEST_P(BatchNormChainTest, ExactWithIntegers) {
  const Array integers = sparse_integers(count, 1, 2), other = sparse_integers(count, 2, 2);
  const Array scales = sparse_integers(channels, 3, 2), shifts = sparse_integers(channels, 4, 2);
  const Guarded on_x = activation(integers), on_dy = activation(other), scale = per_channel(scales);
  const Guarded shift = per_channel(shifts), y = activation(), partials = floats(num_partials);
  ASSERT_TRUE(batch_norm_normalize({.type = type,
                                    .rows = rows,
                                    .channels = channels,
                                    .x = on_x.data(),
                                    .scale = scale.floats(),
                                    .shift = shift.floats(),
                                    .residual = on_dy.data(),
                                    .relu = true,
                                    .y = y.data()},
                                   nullptr));
  Array expected(integers.size()), sums(static_cast<size_t>(num_partials));
  for (size_t i = 0; i < integers.size(); ++i) {
    const size_t c = i % gamma.size(), part = i / gamma.size() / static_cast<size_t>(parts.rows_per_part);
    expected[i] = std::max(integers[i] * scales[c] + shifts[c] + other[i], 0.0);
    if (!(expected[i] > 0)) continue;
    sums[2 * part * gamma.size() + c] += other[i];
    sums[(2 * part + 1) * gamma.size() + c] += other[i] * (integers[i] - shifts[c]);
  }
  EXPECT_TRUE(equal_to(y.values(), expected, shape));
  ASSERT_TRUE(batch_norm_backward_reduce({.type = type,
                                          .rows = rows,
                                          .channels = channels,
                                          .dy = on_dy.data(),
                                          .y = y.data(),
                                          .x = on_x.data(),
                                          .mean = shift.floats(),
                                          .partials = partials.floats()},
                                         nullptr));
  EXPECT_TRUE(equal_to(partials.values(), sums, {parts.parts, 2, channels}));
}

INSTANTIATE_TEST_SUITE_P(Cases, BatchNormChainTest,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(kDataTypes),
                                            ::testing::Values(0, 1)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param)) +
                                  (std::get<2>(instance.param) ? "_misaligned" : "");
                         });

// A convolution's tiles are far more parts than a block can merge: they go in groups first.
class BatchNormPartsTest : public ::testing::TestWithParam<int64_t> {
 protected:
  int64_t rows = GetParam(), channels = 11;
  RowParts parts{3, (rows + 2) / 3};
  Array x = normal_array(rows * channels, DType::f32, 1, 5);

  size_t part_of(size_t i) const { return i / static_cast<size_t>(channels * parts.rows_per_part); }
  size_t slot(size_t part, size_t sum, size_t c) const { return (2 * part + sum) * static_cast<size_t>(channels) + c; }
};

TEST_P(BatchNormPartsTest, MergesStatistics) {
  const auto width = static_cast<size_t>(channels);
  Array partials(static_cast<size_t>(parts.parts * 2 * channels));
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t part = part_of(i);
    const auto part_rows = static_cast<double>(std::min(parts.rows_per_part, rows - static_cast<int64_t>(part) * 3));
    partials[slot(part, 0, i % width)] += x[i] / part_rows;
  }
  for (size_t i = 0; i < x.size(); ++i) {
    const double d = x[i] - partials[slot(part_of(i), 0, i % width)];
    partials[slot(part_of(i), 1, i % width)] += d * d;
  }
  const Array ones(width, 1), zeros(width);
  const BatchNormReference expected(x, ones, zeros, {}, false, double{1e-5f});
  Expected expected_rstd = Expected::elementwise(expected.rstd);
  expected_rstd.terms = rows;
  for (const bool in_two_steps : {false, true}) {
    const Guarded on_device = floats_of(partials), gamma = floats_of(ones), beta = floats_of(zeros);
    const Guarded mean = floats(channels), rstd = floats(channels), scale = floats(channels), shift = floats(channels);
    RowParts left = parts;
    if (in_two_steps) {
      ASSERT_TRUE(batch_norm_merge({.rows = rows, .channels = channels, .partials = on_device.floats(), .parts = parts},
                                   nullptr));
      on_device.values();
      left = {.rows_per_part = rows, .parts = 1};
    }
    ASSERT_TRUE(batch_norm_finalize({.rows = rows,
                                     .channels = channels,
                                     .partials = on_device.floats(),
                                     .parts = left,
                                     .gamma = gamma.floats(),
                                     .beta = beta.floats(),
                                     .mean = mean.floats(),
                                     .rstd = rstd.floats(),
                                     .scale = scale.floats(),
                                     .shift = shift.floats()},
                                    nullptr));
    on_device.values();
    EXPECT_TRUE(close_to(mean.values(), {expected.mean, expected.mean_abs, rows}, DType::f32, {channels}));
    EXPECT_TRUE(close_to(rstd.values(), expected_rstd, DType::f32, {channels}));
  }
}

TEST_P(BatchNormPartsTest, MergesSums) {
  const auto width = static_cast<size_t>(channels);
  const Array integers = sparse_integers(parts.parts * 2 * channels, 1, 2), ones(width, 1);
  Array sums(width), products(width);
  for (size_t part = 0; part < static_cast<size_t>(parts.parts); ++part)
    for (size_t c = 0; c < width; ++c) {
      sums[c] += integers[slot(part, 0, c)];
      products[c] += integers[slot(part, 1, c)];
    }
  const Guarded on_device = floats_of(integers), gamma = floats_of(ones);
  const Guarded dgamma = floats(channels), dbeta = floats(channels);
  ASSERT_TRUE(batch_norm_backward_finalize({.rows = rows,
                                            .channels = channels,
                                            .partials = on_device.floats(),
                                            .parts = parts,
                                            .gamma = gamma.floats(),
                                            .rstd = gamma.floats(),
                                            .dgamma = dgamma.floats(),
                                            .dbeta = dbeta.floats()},
                                           nullptr));
  EXPECT_TRUE(equal_to(dbeta.values(), sums, {channels}));
  EXPECT_TRUE(equal_to(dgamma.values(), products, {channels}));

  const Guarded merged = floats_of(integers);
  ASSERT_TRUE(batch_norm_merge(
      {.rows = rows, .channels = channels, .sums = true, .partials = merged.floats(), .parts = parts}, nullptr));
  Array first = merged.values();
  first.resize(2 * width);
  sums.insert(sums.end(), products.begin(), products.end());
  EXPECT_TRUE(equal_to(first, sums, {2, channels}));
}

INSTANTIATE_TEST_SUITE_P(Rows, BatchNormPartsTest, ::testing::Values(2, 100, 3 * 1024, 3 * 1024 + 1, 10000),
                         [](const auto& instance) { return std::to_string(instance.param); });

// More tiles of channels than the largest grid has blocks for: one block walks all rows of a tile.
TEST(BatchNormKernels, WalkManyRows) {
  const int64_t rows = 21, channels = 32 * 3000;
  const Array x = sparse_integers(rows * channels, 1, 2), ones(static_cast<size_t>(channels), 1);
  Array normal(x), gradient(x);
  for (size_t i = 0; i < x.size(); ++i) normal[i] = std::max(2 * x[i] + 1, 0.0), gradient[i] = 2 * x[i];
  const Guarded on_x(DataType::f32, x, 1), one = floats_of(ones, 1), y(DataType::f32, rows * channels, 1);
  Array twos(ones);
  for (double& v : twos) v = 2;
  const Guarded two = floats_of(twos, 1);
  ASSERT_TRUE(batch_norm_normalize({.rows = rows,
                                    .channels = channels,
                                    .x = on_x.data(),
                                    .scale = two.floats(),
                                    .shift = one.floats(),
                                    .relu = true,
                                    .y = y.data()},
                                   nullptr));
  EXPECT_TRUE(equal_to(y.values(), normal, {rows, channels}));
  // dx = 1*x + 1*(x - 1) + 1
  ASSERT_TRUE(batch_norm_backward_apply({.rows = rows,
                                         .channels = channels,
                                         .dy = on_x.data(),
                                         .x = on_x.data(),
                                         .mean = one.floats(),
                                         .a = one.floats(),
                                         .b = one.floats(),
                                         .c = one.floats(),
                                         .dx = y.data()},
                                        nullptr));
  EXPECT_TRUE(equal_to(y.values(), gradient, {rows, channels}));
}

TEST(BatchNormKernels, LetANotANumberPass) {
  const Array x = {1, std::nan(""), 3, 4, 5, 6, 7, 8};
  const Guarded on_x = floats_of(x), one = floats_of({1}), y = floats(8);
  const RowParts parts = batch_norm_parts(8, 1);
  const Guarded partials = floats(static_cast<int64_t>(parts.bytes(1) / sizeof(float)));
  ASSERT_TRUE(
      batch_norm_statistics({.rows = 8, .channels = 1, .x = on_x.data(), .partials = partials.floats()}, nullptr));
  EXPECT_TRUE(std::isnan(partials.values()[0]));
  EXPECT_TRUE(std::isnan(partials.values()[1]));
  ASSERT_TRUE(batch_norm_normalize({.rows = 8,
                                    .channels = 1,
                                    .x = on_x.data(),
                                    .scale = one.floats(),
                                    .shift = one.floats(),
                                    .relu = true,
                                    .y = y.data()},
                                   nullptr));
  EXPECT_TRUE(std::isnan(y.values()[1]));
}

TEST(BatchNormKernels, RefuseWhatIsIncomplete) {
  const Guarded x = floats(16), c = floats(16);
  float* const f = c.floats();
  EXPECT_FALSE(batch_norm_statistics({.rows = 0, .channels = 4, .x = x.data(), .partials = f}, nullptr));
  EXPECT_FALSE(batch_norm_statistics({.rows = 4, .channels = 4, .x = x.data()}, nullptr));
  BatchNormFinalize finalize = {.rows = 4,
                                .channels = 4,
                                .partials = f,
                                .parts = {4, 2},
                                .gamma = f,
                                .beta = f,
                                .rstd = f,
                                .scale = f,
                                .shift = f};
  EXPECT_FALSE(batch_norm_finalize(finalize, nullptr)) << "the second part has no rows";
  finalize.parts = {3, 1};
  EXPECT_FALSE(batch_norm_finalize(finalize, nullptr)) << "a row is in no part";
  finalize.partials = nullptr;
  EXPECT_FALSE(batch_norm_finalize(finalize, nullptr)) << "neither partials nor running statistics";
  EXPECT_FALSE(batch_norm_normalize({.rows = 4,
                                     .channels = 4,
                                     .x = x.data(),
                                     .scale = f,
                                     .shift = f,
                                     .residual = x.data(),
                                     .residual_scale = f,
                                     .y = x.data()},
                                    nullptr))
      << "a scale without its shift";
  EXPECT_FALSE(batch_norm_backward_reduce(
      {.rows = 4, .channels = 4, .dy = x.data(), .x = x.data(), .mean = f, .partials = f, .second_x = x.data()},
      nullptr));
  EXPECT_FALSE(batch_norm_merge({.rows = 4, .channels = 4, .partials = f, .parts = {3, 1}}, nullptr));
  EXPECT_FALSE(batch_norm_backward_finalize(
      {.rows = 4, .channels = 4, .partials = f, .parts = {4, 1}, .gamma = f, .rstd = f, .a = f}, nullptr));
  EXPECT_FALSE(batch_norm_backward_apply({.rows = 4,
                                          .channels = 4,
                                          .dy = x.data(),
                                          .x = x.data(),
                                          .mean = f,
                                          .a = f,
                                          .b = f,
                                          .c = f,
                                          .dx = x.data(),
                                          .second_x = x.data()},
                                         nullptr));
  EXPECT_TRUE(std::isnan(c.values()[0])) << "nothing was launched";
}

TEST(BatchNormKernels, CountTheirCost) {
  const char some = 0;
  EXPECT_EQ(batch_norm_statistics_cost({.type = DataType::bf16, .rows = 10, .channels = 8}).bytes, 160);
  EXPECT_EQ(batch_norm_normalize_cost({.type = DataType::bf16, .rows = 10, .channels = 8, .residual = &some}).bytes,
            480);
  EXPECT_EQ(batch_norm_backward_reduce_cost({.rows = 10, .channels = 8, .y = &some}).bytes, 3 * 320);
  EXPECT_EQ(batch_norm_backward_apply_cost({.rows = 10, .channels = 8, .second_x = &some}).bytes, 5 * 320);
  float partial = 0;
  EXPECT_EQ(batch_norm_finalize_cost({.rows = 10, .channels = 8, .partials = &partial, .parts = {5, 2}}).bytes,
            4 * (32 + 80));
  EXPECT_EQ(batch_norm_merge_cost({.rows = 10, .channels = 8, .parts = {5, 2}}).bytes, 4 * (32 + 16));
  EXPECT_EQ(batch_norm_backward_finalize_cost({.rows = 10, .channels = 8, .parts = {5, 2}}).bytes, 4 * (32 + 56));
}

}  // namespace
}  // namespace engine::testing
