// Batch norms of several ranks together, against double precision over all their pictures.
#include "engine/statistics_exchange.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <vector>

#include "engine/backend.h"
#include "engine/error.h"
#include "tests/engine/error_text.h"
#include "tests/reference.h"

namespace engine::testing {
namespace {

constexpr int kRanks = 3;

// Ranks one after the other in one process. A rank hears of the others what they said the time before, so that after
// one round more than there are calls all have heard what is right.
class RanksInTurn final : public StatisticsExchange {
 public:
  int size() const override { return kRanks; }

  void all_gather(Device device, const float* mine, float* all, size_t count) override {
    std::vector<std::vector<float>>& said = said_[call_++];
    said.resize(kRanks, std::vector<float>(count));
    std::vector<float>& own = said[static_cast<size_t>(rank_)];
    backend(device).download(own.data(), mine, count * sizeof(float));
    for (size_t rank = 0; rank < kRanks; ++rank)
      backend(device).upload(all + rank * count, said[rank].data(), count * sizeof(float));
  }

  void run(int calls, const std::function<void(int rank)>& work) {
    const SharedStatistics shared(*this);
    for (int round = 0; round <= calls; ++round)
      for (rank_ = 0; rank_ < kRanks; ++rank_) {
        call_ = 0;
        work(rank_);
        EXPECT_EQ(call_, calls);
      }
  }

 private:
  std::map<int, std::vector<std::vector<float>>> said_;  // by call and rank
  int rank_ = 0, call_ = 0;
};

struct Case {
  const char* name;
  Shape shape;  // of one rank's batch
  Layout layout;
  double mean = 0;
};

const Case kCases[] = {{"blocked", {2, 7, 5, 48}, Layout::blocked16},
                       {"blocked_large_plane", {1, 60, 60, 16}, Layout::blocked16},
                       {"far_from_zero", {2, 9, 9, 32}, Layout::blocked16, 100},
                       {"ten_channels", {2, 7, 5, 10}, Layout::nhwc},
                       {"many_rows", {2, 40, 50, 32}, Layout::nhwc},
                       {"one_pixel", {2, 1, 1, 64}, Layout::blocked16}};

class SyncNorm : public ::testing::TestWithParam<std::tuple<Case, DType>> {
 protected:
  Case c = std::get<0>(GetParam());
  DType dtype = std::get<1>(GetParam());
  int64_t channels = c.shape[3], count = c.shape.numel();
  Shape all_shape{kRanks * c.shape[0], c.shape[1], c.shape[2], c.shape[3]};
  Array x = normal_array(kRanks * count, dtype, 1, c.mean), dy = normal_array(kRanks * count, dtype, 2);
  Array gamma = normal_array(channels, DType::f32, 3, 1, 0.3), beta = normal_array(channels, DType::f32, 4);

  Array part(const Array& values, int rank) const {
    const auto begin = values.begin() + rank * count;
    return {begin, begin + count};
  }
  Tensor activation(const Array& values, int rank) const {
    return tensor_of(part(values, rank), c.shape, dtype, test_layout(c.layout));
  }
  BatchNormForward forward(int rank, bool training = true) const {
    BatchNormForward args = {.x = activation(x, rank),
                             .gamma = tensor_of(gamma, {channels}),
                             .beta = tensor_of(beta, {channels}),
                             .residual = {},
                             .relu = true,
                             .training = training,
                             .running_mean = full_tensor({channels}, 0.5),
                             .running_var = full_tensor({channels}, 2),
                             .mean_shift = {},
                             .y = empty_tensor(c.shape, dtype, test_layout(c.layout)),
                             .mean = empty_tensor({channels}),
                             .rstd = empty_tensor({channels})};
    backend(test_device()).batch_norm_forward(args);
    return args;
  }
};

void append(Array& all, const Array& part) {
  all.insert(all.end(), part.begin(), part.end());
}

TEST_P(SyncNorm, ForwardIsThatOfOneBatch) {
  RanksInTurn ranks;
  std::vector<BatchNormForward> results(kRanks);
  ranks.run(1, [&](int rank) { results[static_cast<size_t>(rank)] = forward(rank); });
  const BatchNormReference expected(x, gamma, beta, {}, true, double{1e-5f});
  Expected var = Expected::elementwise(expected.unbiased_var);
  for (double& value : var.value) value = 0.9 * 2 + 0.1 * value;
  var.magnitude = var.value;
  var.terms = kRanks * count / channels;
  Array y;
  for (const BatchNormForward& result : results) {
    append(y, array_of(result.y));
    EXPECT_TRUE(close_to(array_of(result.mean), {expected.mean, expected.mean_abs, var.terms}, DType::f32, {channels}));
    EXPECT_TRUE(close_to(array_of(result.running_var), var, DType::f32, {channels}));
    EXPECT_EQ(array_of(result.mean), array_of(results[0].mean)) << "the same bits on all ranks";
    EXPECT_EQ(array_of(result.running_mean), array_of(results[0].running_mean));
    EXPECT_EQ(array_of(result.rstd), array_of(results[0].rstd));
  }
  EXPECT_TRUE(close_to(y, expected.y, dtype, all_shape));
}

// dx as of one batch; dgamma and dbeta each rank's own share.
TEST_P(SyncNorm, BackwardIsThatOfOneBatch) {
  RanksInTurn ranks;
  std::vector<BatchNormForward> forwards(kRanks);
  std::vector<BatchNormBackward> results(kRanks);
  ranks.run(2, [&](int rank) {
    const auto r = static_cast<size_t>(rank);
    forwards[r] = forward(rank);
    results[r] = {.dy = activation(dy, rank),
                  .y = forwards[r].y,
                  .x = forwards[r].x,
                  .gamma = forwards[r].gamma,
                  .mean = forwards[r].mean,
                  .rstd = forwards[r].rstd,
                  .dx = empty_tensor(c.shape, dtype, test_layout(c.layout)),
                  .dgamma = empty_tensor({channels}),
                  .dbeta = empty_tensor({channels}),
                  .dresidual = {}};
    backend(test_device()).batch_norm_backward(results[r]);
  });
  Array y, dx;
  for (const BatchNormForward& result : forwards) append(y, array_of(result.y));
  const Array mean = array_of(forwards[0].mean), rstd = array_of(forwards[0].rstd);
  for (int rank = 0; rank < kRanks; ++rank) {
    const BatchNormBackward& result = results[static_cast<size_t>(rank)];
    append(dx, array_of(result.dx));
    const BatchNormGradients own(part(dy, rank), part(y, rank), part(x, rank), gamma, mean, rstd, true);
    EXPECT_TRUE(close_to(array_of(result.dgamma), own.dgamma, DType::f32, {channels})) << "rank " << rank;
    EXPECT_TRUE(close_to(array_of(result.dbeta), own.dbeta, DType::f32, {channels})) << "rank " << rank;
  }
  EXPECT_TRUE(close_to(dx, BatchNormGradients(dy, y, x, gamma, mean, rstd, true).dx, dtype, all_shape));
}

TEST_P(SyncNorm, InferenceAsksNobody) {
  RanksInTurn ranks;
  ranks.run(0, [&](int rank) { forward(rank, false); });
}

INSTANTIATE_TEST_SUITE_P(Shapes, SyncNorm,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(activation_types())),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  name_of(std::get<1>(instance.param));
                         });

TEST(SharedStatistics, OneAtATime) {
  RanksInTurn ranks;
  const SharedStatistics shared(ranks);
  EXPECT_EQ(statistics_exchange(), &ranks);
  EXPECT_EQ(error_text([&] { const SharedStatistics another(ranks); }, ErrorKind::internal),
            "batch norms share their statistics with other ranks already");
}

}  // namespace
}  // namespace engine::testing
