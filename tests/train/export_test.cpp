// resnet-train --export, as a user calls it. What is in the ONNX file is tested in tests/models/onnx_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/io/safetensors.h"
#include "engine/nn/weights.h"
#include "models/resnet.h"
#include "tests/models/onnx_graph.h"
#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Export, WritesWhatARunHasLearnt) {
  Workspace workspace;
  ASSERT_EQ(workspace.run_tiny("run", {"--max-steps", "1"}).exit_code, 0);

  const CommandResult onnx = workspace.run({"--export", "net.onnx", "--weights", "run"});
  ASSERT_EQ(onnx.exit_code, 0) << onnx.err;
  EXPECT_THAT(onnx.err, HasSubstr("resnet20 with 10 classes, batch norms folded into the convolutions: net.onnx, "));
  const onnx_graph::Graph graph = onnx_graph::read(workspace / "net.onnx");
  const SafetensorsFile trained = SafetensorsFile::open(workspace / "run/checkpoints/best/model.safetensors");
  const std::string side = trained.metadata().at("engine.crop");
  EXPECT_THAT(graph.inputs, ElementsAre("input: 1 [batch,3," + side + "," + side + "]"));
  EXPECT_EQ(graph.metadata.at("engine.model"), "resnet20");
  EXPECT_EQ(graph.metadata.at("engine.classes"), trained.metadata().at("engine.classes"));
  EXPECT_EQ(graph.census().count("BatchNormalization"), 0u);

  const CommandResult half =
      workspace.run({"--export", "half.safetensors", "--export-dtype", "bfloat16", "--resume", "run"});
  ASSERT_EQ(half.exit_code, 0) << half.err;
  const SafetensorsFile narrow = SafetensorsFile::open(workspace / "half.safetensors");
  EXPECT_EQ(narrow.find("fc.weight")->dtype, SafetensorsDType::bf16);
  EXPECT_EQ(narrow.metadata(), trained.metadata());
  EXPECT_FALSE(fs::exists(workspace / "runs"));
}

TEST(Export, WeightsOfAnotherProgramNeedTheNameOfTheirModel) {
  Workspace workspace;
  models::ResNet net = models::make_resnet("resnet20", {.num_classes = 7});
  save_safetensors(workspace / "bare.safetensors", net);
  const CommandResult refused = workspace.run({"--export", "net.onnx", "--weights", "bare.safetensors"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("--export: bare.safetensors does not say which model it is of; add --model NAME"));
  EXPECT_FALSE(fs::exists(workspace / "net.onnx"));

  const CommandResult kept = workspace.run({"--export", "net.onnx", "--export-bn", "keep", "--weights",
                                            "bare.safetensors", "--model", "resnet20", "--val-crop-size", "48"});
  ASSERT_EQ(kept.exit_code, 0) << kept.err;
  const onnx_graph::Graph graph = onnx_graph::read(workspace / "net.onnx");
  EXPECT_THAT(graph.inputs, ElementsAre("input: 1 [batch,3,48,48]"));
  EXPECT_THAT(graph.outputs, ElementsAre("output: 1 [batch,7]"));
  EXPECT_EQ(graph.census().at("BatchNormalization"), 19);
  EXPECT_TRUE(graph.metadata.empty());
}

TEST(Export, RefusesWhatItCannotWrite) {
  Workspace workspace;
  const auto refusal = [&](std::vector<std::string> arguments) {
    const CommandResult result = workspace.run(arguments);
    EXPECT_EQ(result.exit_code, 2);
    return result.err;
  };
  EXPECT_THAT(refusal({"--export", "net.pth", "--weights", "a"}),
              HasSubstr("--export: net.pth ends neither in .onnx nor in .safetensors"));
  EXPECT_THAT(refusal({"--export", "net.onnx"}), HasSubstr("--export needs what it is to write: add --weights PATH"));
  EXPECT_THAT(refusal({"--export", "net.onnx", "--export-dtype", "bf16", "--weights", "a"}),
              HasSubstr("--export-dtype is of FILE.safetensors; ONNX files hold fp32"));
}

}  // namespace
}  // namespace engine::testing
