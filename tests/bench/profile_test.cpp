#include "bench/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "tests/device.h"
#include "tests/engine/error_text.h"

namespace engine::bench {
namespace {

using engine::testing::error_text;
using engine::testing::test_device;
using ::testing::DoubleEq;
using ::testing::DoubleNear;
using ::testing::HasSubstr;
using ::testing::IsSubsetOf;

WorkloadOptions small_step(Mode mode = Mode::train) {
  return {.model = "resnet20", .batch = 2, .image_size = 8, .mode = mode, .device = test_device()};
}

// One second from mark to mark.
class SecondHand final : public Timeline {
 public:
  void mark() override { ++marks_; }
  std::vector<double> finish() override {
    std::vector<double> seconds;
    for (; marks_ > 0; --marks_) seconds.push_back(static_cast<double>(seconds.size()));
    return seconds;
  }

 private:
  int marks_ = 0;
};

class ProfilingBackendTest : public ::testing::Test {
 protected:
  // A step's operations, behind one that chooses implementations.
  std::vector<OpCall> calls_of(Mode mode) {
    const SubstituteBackend substitute(test_device(), profiler(mode));
    work_->step();
    work_->step();
    profiler_->begin_step();
    work_->step();
    step_ = profiler_->end_step();
    return profiler_->calls();
  }
  ProfilingBackend& profiler(Mode mode) {
    {
      ProfilingBackend passive(backend(test_device()), test_device(), {});
      const SubstituteBackend substitute(test_device(), passive);  // so that nothing is recorded
      work_ = std::make_unique<Workload>(small_step(mode));
    }
    profiler_ = std::make_unique<ProfilingBackend>(backend(test_device()), test_device(), work_->net().parameters());
    profiler_->set_timeline(std::make_unique<SecondHand>());
    return *profiler_;
  }

  std::unique_ptr<Workload> work_;
  std::unique_ptr<ProfilingBackend> profiler_;
  TimedStep step_;
};

std::set<std::string> layers_with(const std::vector<OpCall>& calls, const std::string& direction) {
  std::set<std::string> layers;
  for (const OpCall& call : calls)
    if (call.convolution && call.direction == direction) layers.insert(call.layer);
  return layers;
}

std::set<std::string> convolutions(models::ResNet& net) {
  std::set<std::string> layers;
  for (const NamedParameter& parameter : net.parameters())
    if (parameter.tensor.shape().rank() == 4) layers.insert(parameter.name.substr(0, parameter.name.rfind('.')));
  return layers;
}

TEST_F(ProfilingBackendTest, NamesEachConvolutionOfATrainingStepByItsParameter) {
  const std::vector<OpCall> calls = calls_of(Mode::train);
  std::set<std::string> all = convolutions(work_->net());
  ASSERT_EQ(all.size(), 19u);
  EXPECT_EQ(layers_with(calls, "fprop"), all);
  EXPECT_EQ(layers_with(calls, "wgrad"), all);
  all.erase("conv1");  // nobody needs the gradient of the images
  EXPECT_EQ(layers_with(calls, "dgrad"), all);
}

TEST_F(ProfilingBackendTest, NamesEachConvolutionOfAnInferencePass) {
  const std::vector<OpCall> calls = calls_of(Mode::inference);
  EXPECT_EQ(layers_with(calls, "fprop"), convolutions(work_->net()));
}

TEST_F(ProfilingBackendTest, NamesWhatHasNoParameterByItsNeighbour) {
  std::set<std::string> layers;
  for (const OpCall& call : calls_of(Mode::train)) layers.insert(call.layer);
  EXPECT_THAT((std::set<std::string>{"fc", "loss", "optimiser"}), IsSubsetOf(layers));
  EXPECT_EQ(layers.count(""), 0u);
  for (const std::string& layer : layers)
    if (layer.rfind("after ", 0) == 0) {
      EXPECT_EQ(layers.count(layer.substr(6)), 1u) << layer;
    }
}

TEST_F(ProfilingBackendTest, TimesEachOperationBetweenTwoMarks) {
  const std::vector<OpCall> calls = calls_of(Mode::train);
  EXPECT_EQ(step_.calls, std::vector<double>(calls.size(), 1.0));
  EXPECT_EQ(step_.seconds, 2.0 * static_cast<double>(calls.size()) + 1);
}

TEST_F(ProfilingBackendTest, CountsWhatEachOperationMoves) {
  for (const OpCall& call : calls_of(Mode::train)) {
    EXPECT_GT(call.cost.bytes(), 0) << call.layer << ' ' << kind_of(call);
    EXPECT_EQ(call.cost.flops > 0, call.convolution || call.op == "linear") << call.layer << ' ' << kind_of(call);
  }
}

TEST_F(ProfilingBackendTest, LeavesTheResultAsItIs) {
  calls_of(Mode::train);
  Workload plain(small_step());
  for (int i = 0; i < 3; ++i) plain.step();
  EXPECT_EQ(work_->loss(), plain.loss());
}

TEST_F(ProfilingBackendTest, RefusesAStepOfOtherOperations) {
  calls_of(Mode::inference);
  profiler_->begin_step();
  EXPECT_THAT(error_text([&] { profiler_->end_step(); }, ErrorKind::internal),
              HasSubstr("this step did 0 operations that are not the "));
}

TEST_F(ProfilingBackendTest, LetsTheDeviceBeAfterwards) {
  Backend* const own = &backend(test_device());
  calls_of(Mode::inference);
  EXPECT_EQ(&backend(test_device()), own);
}

std::string read(const std::string& file) {
  std::stringstream text;
  text << std::ifstream(std::string(ENGINE_SOURCE_DIR) + "/" + file).rdbuf();
  return text.str();
}

// An entry that is not forwarded would be timed in its default form, which no device uses that overrides it.
TEST(ProfilingBackend, ForwardsEveryEntryOfTheTable) {
  const std::string table = read("engine/backend.h"), decorator = read("bench/profiling_backend.h");
  const size_t begin = table.find("class Backend {");
  ASSERT_NE(begin, std::string::npos);
  const std::string entries = table.substr(begin, table.find("\n};", begin) - begin);
  const std::regex name(R"(virtual [^;(~]*?(\w+)\()");
  int count = 0;
  for (std::sregex_iterator entry(entries.begin(), entries.end(), name), end; entry != end; ++entry, ++count)
    EXPECT_THAT(decorator, HasSubstr(" " + (*entry)[1].str() + "(")) << "not in ProfilingBackend";
  EXPECT_GE(count, 40);
}

std::vector<OpCall> two_calls() {
  OpCall first, second;
  first.layer = "a";
  second.layer = "b";
  return {first, second};
}

TEST(Summarize, TakesTheMedianOfEachOperationAndOfWhatIsBetween) {
  const StepProfile profile = summarize(two_calls(), {{10, {4, 5}}, {12, {5, 5}}, {50, {40, 6}}}, {9, 10, 11});
  EXPECT_THAT(profile.calls[0].seconds, DoubleEq(5));
  EXPECT_THAT(profile.calls[1].seconds, DoubleEq(5));
  EXPECT_THAT(profile.outside_seconds, DoubleEq(2));  // of 1, 2, 4
  EXPECT_THAT(profile.profiled_seconds, DoubleEq(12));
  EXPECT_THAT(profile.step_seconds, DoubleEq(10));
  EXPECT_THAT(profile.calls_seconds(), DoubleEq(10));
  EXPECT_EQ(profile.steps, 3);
}

TEST(Summarize, IsConsistentWithinFivePercentOfTheStepWithoutTheClock) {
  const auto with_plain = [](double seconds) { return summarize(two_calls(), {{10.5, {4, 6}}}, {seconds}); };
  EXPECT_TRUE(with_plain(10.4).consistent());
  EXPECT_TRUE(with_plain(9.6).consistent());
  EXPECT_FALSE(with_plain(10.7).consistent());
  EXPECT_FALSE(with_plain(9.4).consistent());
  EXPECT_THAT(with_plain(12.5).difference(), DoubleNear(-0.2, 1e-12));
}

TEST(ProfileStep, TimesAStepInPlace) {
  const StepProfile profile = profile_step({.work = small_step(), .warmup_limit = 0, .seconds = 0});
  EXPECT_EQ(profile.steps, kFewestSteps);
  EXPECT_GT(profile.step_seconds, 0);
  EXPECT_GE(profile.outside_seconds, 0);
  for (const ProfiledCall& call : profile.calls)
    EXPECT_EQ(call.call.convolution.has_value(), !call.implementation.empty()) << call.call.layer;
}

}  // namespace
}  // namespace engine::bench
