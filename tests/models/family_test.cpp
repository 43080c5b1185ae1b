// Every member of the family: parameters, names and shapes of the state as PyTorch's (tests/golden/family.json), and
// multiply-adds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iomanip>
#include <sstream>

#include "models/resnet.h"
#include "models/summary.h"
#include "tests/models/parity.h"

namespace {

using namespace engine;
using models::ResNet;

// The lines that write_goldens.py hashes: "name [shape]\n" in PyTorch's order of axes.
std::string state_text(ResNet& net) {
  std::ostringstream text;
  for (const auto& [name, tensor] : net.state()) {
    const Shape& s = tensor.shape();
    text << name << ' ' << (s.rank() == 4 ? Shape{s[0], s[3], s[1], s[2]} : s) << '\n';
  }
  return text.str();
}

std::string hexadecimal(uint64_t value) {
  std::ostringstream text;
  text << std::hex << std::setfill('0') << std::setw(16) << value;
  return text.str();
}

std::string to_decimals(double value, int decimals) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(decimals) << value;
  return text.str();
}

// Multiply-adds of one image of the default size in units of 10^9 (ImageNet) or 10^6 (CIFAR).
struct MemberCase {
  const char* name;
  int64_t parameters;
  const char* giga_macs;
  const char* mega_macs;
};

class Member : public testing::TestWithParam<MemberCase> {};

TEST_P(Member, IsPyTorchs) {
  const auto& [name, parameters, giga_macs, mega_macs] = GetParam();
  ResNet net = models::make_resnet(name, {.initialize = false});
  const parity::Member expected = parity::read_family().at(name);
  EXPECT_EQ(expected.parameters, parameters);

  int64_t counted = 0;
  for (const NamedParameter& parameter : net.parameters()) counted += parameter.tensor.numel();
  EXPECT_EQ(counted, parameters);

  EXPECT_EQ(static_cast<int64_t>(net.state().size()), expected.entries);
  const std::string text = state_text(net);
  EXPECT_EQ(hexadecimal(parity::fnv1a(text)), expected.fnv1a) << text;

  const int64_t size = net.specification().default_image_size();
  const models::Summary summary = models::summarize(net, 1, size, size);
  EXPECT_EQ(summary.parameters, parameters);
  const auto macs = static_cast<double>(summary.macs);
  if (giga_macs != nullptr) {
    EXPECT_EQ(to_decimals(macs / 1e9, 3), giga_macs);
  }
  if (mega_macs != nullptr) {
    EXPECT_EQ(to_decimals(macs / 1e6, 2), mega_macs);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Family, Member,
    testing::Values(
        MemberCase{"resnet18", 11689512, "1.814", nullptr}, MemberCase{"resnet34", 21797672, "3.664", nullptr},
        MemberCase{"resnet50", 25557032, "4.089", nullptr}, MemberCase{"resnet101", 44549160, "7.801", nullptr},
        MemberCase{"resnet152", 60192808, "11.514", nullptr}, MemberCase{"resnext50_32x4d", 25028904, "4.230", nullptr},
        MemberCase{"resnext101_32x8d", 88791336, "16.414", nullptr},
        MemberCase{"wide_resnet50_2", 68883240, "11.398", nullptr},
        MemberCase{"wide_resnet101_2", 126886696, "22.753", nullptr},
        MemberCase{"resnet18_cifar", 11173962, "0.555", nullptr},
        MemberCase{"resnet18_intro", 15323530, nullptr, nullptr},
        MemberCase{"resnet34_intro", 30821578, nullptr, nullptr},
        MemberCase{"resnet50_intro", 23555082, nullptr, nullptr},
        MemberCase{"resnet101_intro", 42573322, nullptr, nullptr},
        MemberCase{"resnet152_intro", 58240010, nullptr, nullptr}, MemberCase{"resnet20", 269722, nullptr, "40.55"},
        MemberCase{"resnet32", 464154, nullptr, "68.86"}, MemberCase{"resnet44", 658586, nullptr, "97.17"},
        MemberCase{"resnet56", 853018, nullptr, "125.49"}, MemberCase{"resnet110", 1727962, nullptr, "252.89"},
        MemberCase{"plain20", 269722, nullptr, "40.55"}, MemberCase{"plain32", 464154, nullptr, "68.86"},
        MemberCase{"plain44", 658586, nullptr, "97.17"}, MemberCase{"plain56", 853018, nullptr, "125.49"},
        MemberCase{"plain110", 1727962, nullptr, "252.89"}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(Family, HasNoMemberWithoutAGolden) {
  const auto golden = parity::read_family();
  EXPECT_EQ(models::specifications().size(), golden.size());
  for (const models::Specification& specification : models::specifications()) {
    EXPECT_TRUE(golden.contains(specification.name)) << specification.name;
  }
}

class Introduction : public testing::TestWithParam<std::pair<int, int64_t>> {};

TEST_P(Introduction, CountsParametersFor1000Classes) {
  const auto& [depth, expected] = GetParam();
  ResNet net = models::resnet_intro(depth, {.num_classes = 1000, .initialize = false});
  int64_t counted = 0;
  for (const NamedParameter& parameter : net.parameters()) counted += parameter.tensor.numel();
  EXPECT_EQ(counted, expected);
}

INSTANTIATE_TEST_SUITE_P(Family, Introduction,
                         testing::Values(std::pair{18, 15831400}, std::pair{34, 31329448}, std::pair{50, 25583592},
                                         std::pair{101, 44601832}, std::pair{152, 60268520}),
                         [](const auto& tested) { return "resnet" + std::to_string(tested.param.first) + "_intro"; });

TEST(Summary, PrintsEachLayerAndTheTotals) {
  ResNet net = models::make_resnet("plain20", {.num_classes = 7, .initialize = false});
  const std::string text = to_string(models::summarize(net, 2, 32, 32));
  std::istringstream lines(text);
  std::string header, first;
  std::getline(lines, header);
  std::getline(lines, first);
  EXPECT_THAT(header, testing::ContainsRegex("layer +kind +output +parameters +MACs"));
  EXPECT_THAT(first, testing::ContainsRegex("conv1 +conv 3x3/1 +\\[2,32,32,16\\] +432 +884,736"));
  EXPECT_THAT(text, testing::ContainsRegex("layer3.0.conv1 +conv 3x3/2 +\\[2,8,8,64\\] +18,432 +2,359,296"));
  EXPECT_THAT(text, testing::ContainsRegex("fc +linear +\\[2,7\\] +455 +896"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("add + relu")));  // no shortcuts
  EXPECT_THAT(text, testing::EndsWith("269,527 parameters, 1,376 running statistics, 0.081 GMACs (multiply-adds of "
                                      "convolutions and the linear layer; 1 MAC = 2 FLOPs)\n"));
}

TEST(Summary, CountsTheRunningStatistics) {
  ResNet net = models::resnet50({.initialize = false});
  EXPECT_EQ(models::summarize(net, 1, 224, 224).buffers, 53120);
}

TEST(Summary, ShowsShortcutsAndPools) {
  ResNet net = models::resnet_intro(18, {.initialize = false});
  const std::string text = to_string(models::summarize(net, 1, 224, 224));
  EXPECT_THAT(text, testing::ContainsRegex("maxpool +max pool 3x3/2 +\\[1,56,56,64\\] +0 +0"));
  EXPECT_THAT(text, testing::ContainsRegex("layer1.0.downsample.0 +conv 1x1/1 +\\[1,56,56,128\\] +8,320 +25,690,112"));
  EXPECT_THAT(text, testing::ContainsRegex("layer4.1 +add \\+ relu +\\[1,7,7,512\\] +0 +0"));
  EXPECT_THAT(text, testing::ContainsRegex("avgpool +average pool 7x7/1 +\\[1,1,1,512\\] +0 +0"));
}

}  // namespace
