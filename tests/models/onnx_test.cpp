// ONNX files of nets: read back, and computed in plain loops. tests/interop has them checked by onnx and onnxruntime.
#include "models/onnx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "engine/autograd.h"
#include "engine/train/version.h"
#include "tests/engine/error_text.h"
#include "tests/models/onnx_graph.h"
#include "tests/models/parity.h"

namespace {

using namespace engine;
using engine::testing::error_text;
using models::BlockKind;
using models::Family;
using models::ResNet;
using ::testing::ElementsAre;
using ::testing::Pair;

class Onnx : public ::testing::Test {
 protected:
  Onnx() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path = std::filesystem::path(::testing::TempDir()) /
           ("engine-onnx-" + std::to_string(::getpid()) + "-" + test->name() + ".onnx");
  }
  ~Onnx() override { std::filesystem::remove(path); }

  onnx_graph::Graph saved(ResNet& net, const models::OnnxOptions& options) {
    models::save_onnx(path, net, options);
    return onnx_graph::read(path);
  }

  // The file, with its batch norms folded and kept, computes what the net computes. Of a net that only takes large
  // images one is enough, and one file.
  void expect_equal_logits(const models::Specification& specification, int64_t size) {
    const bool large = size > 100;
    const int64_t batch = large ? 1 : 2;
    ResNet net(specification, {.num_classes = 5, .initialize = false});
    parity::set_values(net);
    net.eval();
    const NoGrad no_grad;
    const Tensor images = parity::images(0, batch, size);
    const std::vector<double> expected = parity::values_of(net(images));
    double peak = 0, layers = 0, terms = 0;
    for (const double logit : expected) peak = std::max(peak, std::abs(logit));
    for (const auto& [name, tensor, kind] : net.parameters()) {
      if (tensor.shape().rank() < 2) continue;
      ++layers;
      terms = std::max(terms, static_cast<double>(tensor.numel() / tensor.size(0)));
    }
    for (const bool fold : {true, false}) {
      if (large && !fold) continue;
      const onnx_graph::Graph graph = saved(net, {.fold_batch_norm = fold, .image_size = size});
      const auto [shape, logits] = onnx_graph::run(graph, {{batch, 3, size, size}, parity::values_of(images)});
      ASSERT_THAT(shape, ElementsAre(batch, 5));
      const double bound = layers * (4 + 2 * std::sqrt(terms)) * 0x1p-24 * peak;
      for (size_t i = 0; i < logits.size(); ++i) EXPECT_NEAR(logits[i], expected[i], bound) << specification.name;
    }
  }

  std::filesystem::path path;
  parity::Reproducible reproducible_;
};

TEST_F(Onnx, OptionA) {
  expect_equal_logits({.name = "a", .family = Family::cifar, .blocks = {1, 2, 1}}, 15);
}
TEST_F(Onnx, PlainTwin) {
  expect_equal_logits({.name = "b", .family = Family::cifar, .blocks = {1, 1, 1}, .shortcuts = false}, 16);
}
TEST_F(Onnx, BasicBlocks) {
  expect_equal_logits({.name = "c", .blocks = {1, 2, 1, 1}}, 37);
}
TEST_F(Onnx, SmallStem) {
  expect_equal_logits({.name = "d", .blocks = {1, 1}, .small_stem = true}, 8);
}
TEST_F(Onnx, GroupedBottlenecks) {
  expect_equal_logits(
      {.name = "e", .block = BlockKind::bottleneck, .blocks = {1, 2}, .groups = 4, .width_per_group = 8}, 33);
}
TEST_F(Onnx, Introduction) {
  expect_equal_logits({.name = "f", .family = Family::intro, .block = BlockKind::bottleneck, .blocks = {1, 1, 1, 1}},
                      193);
}

TEST_F(Onnx, SaysWhatItIs) {
  ResNet net = models::make_resnet("resnet50", {.num_classes = 12, .initialize = false});
  parity::set_values(net);
  const onnx_graph::Graph graph = saved(net, {.metadata = {{"classes", "[\"a\",\"\u00e4\"]"}, {"model", "resnet50"}}});
  EXPECT_EQ(graph.ir_version, 8);
  EXPECT_EQ(graph.opset, 17);
  EXPECT_EQ(graph.producer, "engine");
  EXPECT_EQ(graph.producer_version, version());
  EXPECT_EQ(graph.name, "resnet50");
  EXPECT_THAT(graph.metadata, ElementsAre(Pair("classes", "[\"a\",\"\u00e4\"]"), Pair("model", "resnet50")));
  EXPECT_THAT(graph.inputs, ElementsAre("input: 1 [batch,3,224,224]"));
  EXPECT_THAT(graph.outputs, ElementsAre("output: 1 [batch,12]"));
  EXPECT_THAT(graph.census(), ElementsAre(Pair("Add", 16), Pair("Conv", 53), Pair("Flatten", 1), Pair("Gemm", 1),
                                          Pair("GlobalAveragePool", 1), Pair("MaxPool", 1), Pair("Relu", 49)));
}

TEST_F(Onnx, KeptBatchNormsHaveTorchvisionsNames) {
  ResNet net = models::make_resnet("resnet18", {.num_classes = 2, .initialize = false});
  parity::set_values(net);
  const onnx_graph::Graph graph = saved(net, {.fold_batch_norm = false});
  std::set<std::string> expected, names;
  for (const NamedTensor& entry : net.state()) {
    if (!entry.name.ends_with("num_batches_tracked")) expected.insert(entry.name);
  }
  for (const auto& [name, array] : graph.constants) names.insert(name);
  EXPECT_EQ(names, expected);
  EXPECT_EQ(graph.census().at("BatchNormalization"), 20);
}

TEST_F(Onnx, ImagesThatTheNetDoesNotTake) {
  ResNet net = models::resnet_intro(18, {.initialize = false});
  EXPECT_EQ(error_text([&] { models::save_onnx(path, net, {.image_size = 192}); }),
            "save_onnx: resnet18_intro takes images of at least 193x193, not 192x192");
  EXPECT_EQ(error_text([&] { models::save_onnx(path, net, {.image_size = 256}); }),
            "save_onnx: images of 256x256 leave [1,2,2,512] behind the average pool of resnet18_intro, expected one "
            "value a channel; use 224x224");
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(Onnx, MoreThanProtobufHolds) {
  const std::byte one{};
  OnnxModel model{.name = "net"};
  model.constants = {{"w", SafetensorsDType::f32, {1 << 29}, {&one, size_t{1} << 31}}};
  EXPECT_EQ(error_text([&] { write_onnx(path, model); }, ErrorKind::checkpoint),
            "write_onnx: net takes 2.1 GB, and protobuf ends at 2.1 GB; keep the weights as safetensors");
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(Onnx, ConstantsOfAnotherType) {
  OnnxModel model{.name = "net"};
  model.constants = {{"w", SafetensorsDType::bf16, {0}, {}}};
  EXPECT_EQ(error_text([&] { write_onnx(path, model); }, ErrorKind::checkpoint),
            "write_onnx: constant w holds BF16, expected F32 or I64");
}

}  // namespace
