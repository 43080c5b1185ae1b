#include "bench/layer_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "tests/engine/error_text.h"

namespace engine::bench {
namespace {

using ::testing::DoubleEq;
using ::testing::DoubleNear;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr Ceilings kCeilings = {.bytes_per_s = 100, .flops_per_s = 1000};

ProfiledCall call(const std::string& layer, const std::string& op, const std::string& direction, double seconds,
                  OpCost cost, const std::string& implementation = {}) {
  ProfiledCall made;
  made.call.layer = layer;
  made.call.op = op;
  made.call.direction = direction;
  made.call.shape = "8x8x16 -> 8x8x16  3x3";
  made.call.cost = cost;
  made.seconds = seconds;
  made.implementation = implementation;
  return made;
}

StepProfile profile() {
  StepProfile made;
  made.calls = {call("conv1", "conv", "fprop", 4, {.flops = 2000, .read = 60, .written = 40}, "direct"),
                call("layer1.0.conv1", "conv", "wgrad", 3, {.flops = 100, .read = 100, .written = 50}, "winograd"),
                call("after layer1.0.bn1", "add", "", 1, {.read = 30, .written = 10}),
                call("after layer1.0.bn1", "add", "", 1, {.read = 30, .written = 10})};
  made.step_seconds = 9.2;
  made.profiled_seconds = 9.5;
  made.outside_seconds = 0.5;
  made.steps = 7;
  return made;
}

LayerReport report() {
  LayerReport made = make_report(profile(), kCeilings);
  made.model = "resnet20";
  made.mode = "train";
  made.precision = "fp32";
  made.device = "cpu";
  made.description = "a <processor> & more";
  made.batch = 2;
  made.floor = {.seconds = 4, .regime = "epilogues"};
  made.rows[0].candidates = {{"winograd", 3}, {"direct", 3.5}};
  return made;
}

template <class Print>
std::string printed(const Print& print) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), std::fclose);
  print(file.get());
  std::string text(static_cast<size_t>(std::ftell(file.get())), ' ');
  std::rewind(file.get());
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  return text;
}

TEST(LayerReport, SetsEachFloorByTheTighterCeiling) {
  const LayerReport made = report();
  EXPECT_THAT(made.rows[0].floor_seconds, DoubleEq(2));  // 2000 flops at 1000 a second; 100 bytes would be 1
  EXPECT_TRUE(made.rows[0].compute_bound);
  EXPECT_THAT(made.rows[0].share_of_floor(), DoubleEq(0.5));
  EXPECT_THAT(made.rows[1].floor_seconds, DoubleEq(1.5));
  EXPECT_FALSE(made.rows[1].compute_bound);
}

TEST(LayerReport, PutsTheSameOperationOfALayerIntoOneRow) {
  const LayerReport made = report();
  ASSERT_EQ(made.rows.size(), 3u);
  EXPECT_EQ(made.rows[2].calls, 2);
  EXPECT_THAT(made.rows[2].seconds, DoubleEq(2));
  EXPECT_THAT(made.rows[2].cost.bytes(), DoubleEq(80));
  EXPECT_THAT(made.rows[2].floor_seconds, DoubleEq(0.8));
}

TEST(LayerReport, KeepsTheStepsAccount) {
  const LayerReport made = report();
  double rows = 0;
  for (const LayerRow& row : made.rows) rows += row.seconds;
  EXPECT_THAT(made.operations_seconds, DoubleEq(rows));
  EXPECT_THAT(rows + made.outside_seconds, DoubleNear(made.profiled_seconds, 1e-9));
}

TEST(LayerReport, SaysNothingOfASumThatAgrees) {
  EXPECT_THAT(disagreement(report()), IsEmpty());
}

TEST(LayerReport, SaysWhenTheSumIsNotTheStep) {
  StepProfile loose = profile();
  loose.step_seconds = 12;
  LayerReport made = make_report(loose, kCeilings);
  made.model = "resnet20";
  EXPECT_THAT(disagreement(made),
              HasSubstr("add up to 9000.0 ms, the step without the clock takes 12000.0 ms: -25.0% apart, more than 5"));
  EXPECT_THAT(printed([&](std::FILE* out) { print_layers(out, made); }), HasSubstr("DOUBTFUL: the operations of"));
}

TEST(LayerReport, TellsTheChosenImplementationFromTheNextBest) {
  const LayerReport made = report();
  ASSERT_NE(made.rows[0].alternative(), nullptr);
  EXPECT_EQ(made.rows[0].alternative()->name, "winograd");
  ASSERT_NE(made.rows[0].chosen(), nullptr);
  EXPECT_THAT(made.rows[0].chosen()->seconds, DoubleEq(3.5));
  EXPECT_EQ(made.rows[1].alternative(), nullptr);
}

TEST(LayerReport, PrintsEachLayer) {
  const std::string text = printed([](std::FILE* out) { print_layers(out, report()); });
  for (const LayerRow& row : report().rows) EXPECT_THAT(text, HasSubstr(row.layer));
  EXPECT_THAT(text, HasSubstr("direct 3500.000 | winograd 3000.000 (0.86x)"));
}

TEST(ExplainLayer, ShowsEveryCandidate) {
  const std::string text = printed([](std::FILE* out) { explain_layer(out, report(), "conv1"); });
  EXPECT_THAT(text, HasSubstr("2000.000 ms, set by the matrix rate: 50% of it reached"));
  EXPECT_THAT(text, HasSubstr("  *  3500.000  direct\n"));
  EXPECT_THAT(text, HasSubstr("     3000.000  winograd\n"));
  EXPECT_THAT(text, Not(HasSubstr("layer1.0.conv1")));
}

TEST(ExplainLayer, NamesTheBlocksLayersForAWrongName) {
  EXPECT_THAT(engine::testing::error_text([] { explain_layer(stderr, report(), "layer1.0.conv7"); }),
              HasSubstr("--explain 'layer1.0.conv7': resnet20 has no such layer, but layer1.0.conv1"));
}

TEST(LayersJson, HasTheRowsOfTheTable) {
  const nlohmann::ordered_json json = layers_json(report());
  ASSERT_EQ(json["layers"].size(), 3u);
  EXPECT_EQ(json["layers"][0]["layer"], "conv1");
  EXPECT_EQ(json["layers"][0]["operation"], "conv fprop");
  EXPECT_EQ(json["layers"][0]["ms"], 4000);
  EXPECT_EQ(json["layers"][0]["bound_by"], "matrix rate");
  EXPECT_EQ(json["layers"][0]["candidates"][0]["implementation"], "winograd");
  EXPECT_EQ(json["between_operations_ms"], 500);
}

// Every tag is closed, in order; text holds no bare < or &.
std::string first_fault(const std::string& html) {
  std::vector<std::string> open;
  for (size_t at = html.find("<html"); (at = html.find('<', at)) != std::string::npos;) {
    const size_t end = html.find('>', at);
    if (end == std::string::npos) return "no end of " + html.substr(at, 20);
    const std::string tag = html.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" /", 1));
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return "unexpected <" + tag + ">";
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
    at = end;
    const std::string content = html.substr(end + 1, html.find('<', end) - end - 1);
    for (size_t sign = content.find('&'); sign != std::string::npos; sign = content.find('&', sign + 1))
      if (content.find(';', sign) == std::string::npos) return "a bare & in " + content;
  }
  return open.empty() ? std::string() : "<" + open.back() + "> is not closed";
}

TEST(LayersHtml, IsWellFormed) {
  EXPECT_EQ(first_fault(layers_html({report(), report()})), "");
}

TEST(LayersHtml, EscapesWhatItIsGiven) {
  EXPECT_THAT(layers_html({report()}), HasSubstr("a &lt;processor&gt; &amp; more"));
}

TEST(LayersHtml, NeedsNothingElse) {
  const std::string html = layers_html({report()});
  for (const char* outside : {"<script", "http:", "https:", "src=", "<link", "@import"})
    EXPECT_THAT(html, Not(HasSubstr(outside)));
  EXPECT_THAT(html, HasSubstr("prefers-color-scheme:dark"));
}

TEST(LayersHtml, SaysThatAnEmulatedDeviceIsNone) {
  LayerReport emulated = report();
  EXPECT_THAT(layers_html({emulated}), Not(HasSubstr("emulated")));
  emulated.emulated = true;
  EXPECT_THAT(layers_html({emulated}), HasSubstr("none of these figures says anything about a GPU"));
}

// All of it on a real step.
TEST(ProfileLayers, ShowsEveryLayerOfTheNet) {
  const LayerReport made = profile_layers({.work = {.model = "resnet20", .batch = 2, .image_size = 8},
                                           .warmup_limit = 0,
                                           .seconds = 0,
                                           .seconds_per_candidate = 0},
                                          kCeilings);
  const std::string html = layers_html({made});
  EXPECT_EQ(first_fault(html), "");
  models::ResNet net = models::make_resnet("resnet20", {.initialize = false});
  for (const NamedParameter& parameter : net.parameters())
    EXPECT_THAT(html, HasSubstr("<b>" + parameter.name.substr(0, parameter.name.rfind('.')) + "</b>"));
  EXPECT_GT(made.floor.seconds, 0);
  EXPECT_EQ(made.threads, num_threads());
}

}  // namespace
}  // namespace engine::bench
