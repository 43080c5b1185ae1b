// BN + ReLU + max-pool in one pass each way, against the separate references.
#include "kernels/batch_norm_pool.h"

#include <cmath>
#include <string>

#include "tests/kernels/guarded.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

using namespace kernels;

struct Case {
  const char* name;
  Pool2dShape shape;
};

const Case kCases[] = {{"stem", {2, 12, 14, 64, 3, 2, 1}},
                       {"odd", {3, 7, 9, 16, 3, 2, 1}},
                       {"ten_channels", {2, 6, 5, 10, 2, 2, 0}},
                       {"disjoint_windows", {2, 8, 8, 24, 2, 3, 0}},
                       {"many_parts", {4, 34, 33, 8, 3, 1, 1}}};

class BatchNormPoolTest : public ::testing::TestWithParam<std::tuple<Case, DataType, int64_t>> {
 protected:
  Pool2dShape s = std::get<0>(GetParam()).shape;
  DataType type = std::get<1>(GetParam());
  DType dtype = dtype_of(type);
  int64_t offset = std::get<2>(GetParam());
  int64_t inputs = s.n * s.h * s.w * s.c, outputs = s.n * s.p() * s.q() * s.c;
  int64_t rows = s.n * s.h * s.w, pooled_rows = s.n * s.p() * s.q();
  Shape x_shape{s.n, s.h, s.w, s.c}, y_shape{s.n, s.p(), s.q(), s.c};
  PoolReference pool{s.n, s.h, s.w, s.c, s.window, s.stride, s.padding};

  Guarded array(const Array& values) const { return Guarded(type, values, offset); }
  Guarded empty(int64_t count) const { return Guarded(type, count, offset); }
  Guarded per_channel(const Array& values) const { return floats_of(values, offset); }

  // The element of x that each output took, by the kernel's positions.
  std::vector<size_t> winners(const std::vector<uint8_t>& argmax) const {
    std::vector<size_t> from(argmax.size(), SIZE_MAX);
    pool.for_each([&](size_t to, int64_t position, size_t element) {
      if (position == argmax[to]) from[to] = element;
    });
    return from;
  }
};

TEST_P(BatchNormPoolTest, ForwardIsExactWithIntegers) {
  const Array x = sparse_integers(inputs, 1, 2), scale = sparse_integers(s.c, 2, 2), shift = sparse_integers(s.c, 3, 2);
  Array best(static_cast<size_t>(outputs), -1), where(best.size());
  pool.for_each([&](size_t to, int64_t position, size_t from) {
    const size_t c = from % scale.size();
    const double z = std::max(x[from] * scale[c] + shift[c], 0.0);
    if (z > best[to]) best[to] = z, where[to] = static_cast<double>(position);
  });
  const Guarded on_x = array(x), on_scale = per_channel(scale), on_shift = per_channel(shift), y = empty(outputs);
  const DeviceBuffer<uint8_t> argmax(static_cast<size_t>(outputs));
  ASSERT_TRUE(batch_norm_pool_forward({.shape = s,
                                       .type = type,
                                       .x = on_x.data(),
                                       .scale = on_scale.floats(),
                                       .shift = on_shift.floats(),
                                       .y = y.data(),
                                       .argmax = argmax.data()},
                                      nullptr));
  EXPECT_TRUE(equal_to(y.values(), best, y_shape));
  const std::vector<uint8_t> positions = argmax.values();
  EXPECT_TRUE(equal_to(Array(positions.begin(), positions.end()), where, y_shape));
}

// The fused kernel is to round as the two kernels do that it replaces.
TEST_P(BatchNormPoolTest, ForwardEqualsTheTwoPasses) {
  const Array x = normal_array(inputs, dtype, 1), scale = normal_array(s.c, DType::f32, 2, 1, 0.3);
  const Array shift = normal_array(s.c, DType::f32, 3);
  const Guarded on_x = array(x), on_scale = per_channel(scale), on_shift = per_channel(shift), y = empty(outputs);
  const Guarded z = empty(inputs), expected = empty(outputs);
  const DeviceBuffer<uint8_t> argmax(static_cast<size_t>(outputs)), expected_argmax(static_cast<size_t>(outputs));
  ASSERT_TRUE(batch_norm_pool_forward({.shape = s,
                                       .type = type,
                                       .x = on_x.data(),
                                       .scale = on_scale.floats(),
                                       .shift = on_shift.floats(),
                                       .y = y.data(),
                                       .argmax = argmax.data()},
                                      nullptr));
  ASSERT_TRUE(batch_norm_normalize({.type = type,
                                    .rows = rows,
                                    .channels = s.c,
                                    .x = on_x.data(),
                                    .scale = on_scale.floats(),
                                    .shift = on_shift.floats(),
                                    .relu = true,
                                    .y = z.data()},
                                   nullptr));
  ASSERT_TRUE(max_pool_forward(
      {.shape = s, .type = type, .x = z.data(), .y = expected.data(), .argmax = expected_argmax.data()}, nullptr));
  EXPECT_EQ(y.values(), expected.values());
  EXPECT_EQ(argmax.values(), expected_argmax.values());
}

TEST_P(BatchNormPoolTest, Backward) {
  const Array x = normal_array(inputs, dtype, 1), scale = normal_array(s.c, DType::f32, 2, 1, 0.3);
  const Array shift = normal_array(s.c, DType::f32, 3), dy = normal_array(outputs, dtype, 4);
  const BatchNormReference statistics(x, scale, shift, {}, false, double{1e-5f});
  const Array mean = rounded(statistics.mean, DType::f32), rstd = rounded(statistics.rstd, DType::f32);
  const Guarded on_x = array(x), on_scale = per_channel(scale), on_shift = per_channel(shift), y = empty(outputs);
  const DeviceBuffer<uint8_t> argmax(static_cast<size_t>(outputs));
  ASSERT_TRUE(batch_norm_pool_forward({.shape = s,
                                       .type = type,
                                       .x = on_x.data(),
                                       .scale = on_scale.floats(),
                                       .shift = on_shift.floats(),
                                       .y = y.data(),
                                       .argmax = argmax.data()},
                                      nullptr));
  const Array pooled = y.values();
  const std::vector<size_t> from = winners(argmax.values());
  Array dz(static_cast<size_t>(inputs)), size(dz.size());
  for (size_t i = 0; i < from.size(); ++i)
    if (pooled[i] > 0) dz[from[i]] += dy[i], size[from[i]] += std::abs(dy[i]);
  BatchNormGradients expected(dz, {}, x, scale, mean, rstd, true);
  for (size_t i = 0; i < dz.size(); ++i) expected.dx.magnitude[i] += size[i] * std::abs(scale[i % scale.size()]) * 2;
  // Several outputs may have met in one dz: their sizes count, not that of their sum.
  for (size_t c = 0; c < scale.size(); ++c) expected.dbeta.magnitude[c] = expected.dgamma.magnitude[c] = 0;
  for (size_t i = 0; i < dz.size(); ++i) {
    const size_t c = i % scale.size();
    expected.dbeta.magnitude[c] += size[i];
    expected.dgamma.magnitude[c] += size[i] * std::abs(x[i] - mean[c]) * rstd[c];
  }

  const Guarded on_dy = array(dy), on_mean = per_channel(mean), on_rstd = per_channel(rstd);
  const Guarded dgamma = floats(s.c, offset), dbeta = floats(s.c, offset), a = floats(s.c, offset);
  const Guarded b = floats(s.c, offset), c = floats(s.c, offset), dx = empty(inputs);
  const RowParts parts = batch_norm_parts(pooled_rows, s.c);
  const Guarded partials = floats(static_cast<int64_t>(parts.bytes(s.c) / sizeof(float)));
  ASSERT_TRUE(batch_norm_pool_backward_reduce({.shape = s,
                                               .type = type,
                                               .dy = on_dy.data(),
                                               .y = y.data(),
                                               .argmax = argmax.data(),
                                               .x = on_x.data(),
                                               .mean = on_mean.floats(),
                                               .partials = partials.floats()},
                                              nullptr));
  partials.values();
  ASSERT_TRUE(batch_norm_backward_finalize({.rows = rows,
                                            .channels = s.c,
                                            .partials = partials.floats(),
                                            .parts = parts,
                                            .gamma = on_scale.floats(),
                                            .rstd = on_rstd.floats(),
                                            .dgamma = dgamma.floats(),
                                            .dbeta = dbeta.floats(),
                                            .a = a.floats(),
                                            .b = b.floats(),
                                            .c = c.floats()},
                                           nullptr));
  EXPECT_TRUE(close_to(dgamma.values(), expected.dgamma, DType::f32, {s.c}));
  EXPECT_TRUE(close_to(dbeta.values(), expected.dbeta, DType::f32, {s.c}));
  BatchNormPoolBackwardApply apply = {.shape = s,
                                      .type = type,
                                      .dy = on_dy.data(),
                                      .y = y.data(),
                                      .argmax = argmax.data(),
                                      .x = on_x.data(),
                                      .mean = on_mean.floats(),
                                      .a = a.floats(),
                                      .b = b.floats(),
                                      .c = c.floats(),
                                      .dx = dx.data()};
  ASSERT_TRUE(batch_norm_pool_backward_apply(apply, nullptr));
  EXPECT_TRUE(close_to(dx.values(), expected.dx, dtype, x_shape));
  apply.dx = on_x.data();
  ASSERT_TRUE(batch_norm_pool_backward_apply(apply, nullptr));
  EXPECT_EQ(on_x.values(), dx.values()) << "in place of x";
}

INSTANTIATE_TEST_SUITE_P(Cases, BatchNormPoolTest,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(kDataTypes),
                                            ::testing::Values(0, 1)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param)) +
                                  (std::get<2>(instance.param) ? "_misaligned" : "");
                         });

// More tiles of channels than the largest grid has blocks for: one block walks all pixels of a tile.
TEST(BatchNormPool, WalksManyPixels) {
  const Pool2dShape s = {3, 6, 6, 32 * 3000, 2, 2, 0};
  const int64_t inputs = s.n * 36 * s.c, outputs = s.n * 9 * s.c;
  const Array x = sparse_integers(inputs, 1, 2), ones(static_cast<size_t>(s.c), 1);
  Array best(static_cast<size_t>(outputs), -1), gradient(x);
  std::vector<size_t> winner(best.size());
  PoolReference{s.n, s.h, s.w, s.c, 2, 2, 0}.for_each([&](size_t to, int64_t, size_t from) {
    if (const double z = std::max(x[from] + 1, 0.0); z > best[to]) best[to] = z, winner[to] = from;
  });
  for (size_t i = 0; i < winner.size(); ++i) gradient[winner[i]] += best[i];  // a*dz + b*(x - mean) + c
  const Guarded on_x(DataType::f32, x, 1), one = floats_of(ones, 1), y(DataType::f32, outputs, 1);
  const DeviceBuffer<uint8_t> argmax(static_cast<size_t>(outputs));
  ASSERT_TRUE(batch_norm_pool_forward({.shape = s,
                                       .x = on_x.data(),
                                       .scale = one.floats(),
                                       .shift = one.floats(),
                                       .y = y.data(),
                                       .argmax = argmax.data()},
                                      nullptr));
  EXPECT_TRUE(equal_to(y.values(), best, {outputs}));
  const Guarded dx(DataType::f32, inputs, 1);
  ASSERT_TRUE(batch_norm_pool_backward_apply({.shape = s,
                                              .dy = y.data(),
                                              .y = y.data(),
                                              .argmax = argmax.data(),
                                              .x = on_x.data(),
                                              .mean = one.floats(),
                                              .a = one.floats(),
                                              .b = one.floats(),
                                              .c = one.floats(),
                                              .dx = dx.data()},
                                             nullptr));
  EXPECT_TRUE(equal_to(dx.values(), gradient, {inputs}));
}

TEST(BatchNormPool, RefusesWhatIsIncomplete) {
  const Guarded x = floats(64), y = floats(64);
  const Pool2dShape s = {1, 4, 4, 1, 2, 2, 0};
  float* const f = y.floats();
  uint8_t* const bytes = y.as<uint8_t>();
  EXPECT_FALSE(batch_norm_pool_forward({.shape = s, .x = x.data(), .scale = f, .shift = f, .y = y.data()}, nullptr));
  EXPECT_FALSE(batch_norm_pool_forward(
      {.shape = {1, 32, 32, 1, 17, 1, 0}, .x = x.data(), .scale = f, .shift = f, .y = y.data(), .argmax = bytes},
      nullptr));
  EXPECT_FALSE(batch_norm_pool_backward_reduce(
      {.shape = s, .dy = x.data(), .argmax = bytes, .x = x.data(), .mean = f, .partials = f}, nullptr))
      << "no y";
  EXPECT_FALSE(batch_norm_pool_backward_apply({.shape = s,
                                               .dy = x.data(),
                                               .y = x.data(),
                                               .argmax = bytes,
                                               .x = x.data(),
                                               .a = f,
                                               .b = f,
                                               .c = f,
                                               .dx = y.data()},
                                              nullptr))
      << "no mean";
  EXPECT_TRUE(std::isnan(y.values()[0])) << "nothing was launched";
}

TEST(BatchNormPool, CountsItsCost) {
  const Pool2dShape s = {1, 4, 4, 8, 2, 2, 0};
  EXPECT_EQ(batch_norm_pool_forward_cost({.shape = s, .type = DataType::bf16}).bytes, 160 * 2 + 32);
  EXPECT_EQ(batch_norm_pool_backward_reduce_cost({.shape = s}).bytes, 3 * 32 * 4 + 32);
  EXPECT_EQ(batch_norm_pool_backward_apply_cost({.shape = s}).bytes, 2 * 160 * 4 + 32);
}

}  // namespace
}  // namespace engine::testing
