#include "bench/convolution_case.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/backend.h"

namespace engine::bench {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;

ConvolutionCase small_case(cpu::ConvDirection direction) {
  const bool inference = direction == cpu::ConvDirection::inference;
  return {.problem = {.direction = direction,
                      .shape = {.n = 1, .h = 8, .w = 8, .c = 32, .k = 32, .r = 3, .s = 3, .padding = 1},
                      .x = Layout::blocked16,
                      .y = Layout::blocked16,
                      .bias = inference,
                      .relu = inference}};
}

class EveryDirection : public ::testing::TestWithParam<cpu::ConvDirection> {};

TEST_P(EveryDirection, TimesEachImplementationOfTheCpuButNoReferenceLoops) {
  const ConvolutionCase conv = small_case(GetParam());
  const std::vector<Candidate> candidates = time_candidates(conv, {}, 0);
  EXPECT_EQ(candidates.size(), cpu::conv_implementations(conv.problem).size());
  for (const Candidate& candidate : candidates) {
    EXPECT_THAT(candidate.name, Not(HasSubstr("ref")));
    EXPECT_GT(candidate.seconds, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, EveryDirection,
                         ::testing::Values(cpu::ConvDirection::forward, cpu::ConvDirection::inference,
                                           cpu::ConvDirection::backward_data, cpu::ConvDirection::backward_weights));

TEST(TimeCandidates, BeginsWithTheFastest) {
  const std::vector<Candidate> candidates = time_candidates(small_case(cpu::ConvDirection::forward), {}, 0);
  for (size_t i = 1; i < candidates.size(); ++i) EXPECT_GE(candidates[i].seconds, candidates[i - 1].seconds);
}

TEST(TimeCandidates, HasOurKernelAloneOnTheEmulator) {
  ConvolutionCase conv = small_case(cpu::ConvDirection::forward);
  conv.problem.x = conv.problem.y = Layout::nhwc;
  conv.statistics = true;
  const std::vector<Candidate> candidates = time_candidates(conv, {DeviceType::emulated}, 0);
  ASSERT_EQ(candidates.size(), 1u);
  EXPECT_EQ(candidates[0].name, "own");
}

TEST(ImplementationOf, IsTheOneThatTheCpuChose) {
  const ConvolutionCase conv = small_case(cpu::ConvDirection::forward);
  const auto activation = [&] { return make_activation({1, 8, 8, 32}, DType::f32, {}); };
  const Tensor x = activation(), w = Tensor::zeros({32, 3, 3, 32});
  backend({}).fill(x, 1);
  backend({}).conv_forward(conv.problem.shape, x, w, {}, activation());
  EXPECT_THAT(cpu::conv_implementations(conv.problem),
              Contains(implementation_of(conv, {}, chosen_implementations({}))));
}

TEST(ImplementationOf, IsUnknownWithoutAChoiceAndOwnOnADeviceWithoutOne) {
  EXPECT_EQ(implementation_of(small_case(cpu::ConvDirection::forward), {}, {}), "");
  EXPECT_EQ(implementation_of(small_case(cpu::ConvDirection::forward), {DeviceType::emulated}, {}), "own");
}

TEST(ImplementationOf, FindsAGpusChoiceByTheProblemsName) {
  ConvolutionCase conv = small_case(cpu::ConvDirection::forward);
  conv.statistics = true;
  const Choices choices = {{"forward f32 n1 h8 w8 c32 k32 r3 s3 stride1 pad1 groups1 statistics", "cudnn"}};
  EXPECT_EQ(implementation_of(conv, {DeviceType::cuda}, choices), "cudnn");
}

}  // namespace
}  // namespace engine::bench
