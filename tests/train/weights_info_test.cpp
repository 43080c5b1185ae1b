#include "engine/train/weights_info.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/error_text.h"

namespace engine::testing {
namespace {

using ::testing::HasSubstr;

WeightsInfo sample() {
  return {.model = "resnet18",
          .class_names = {"a \"b\"", "h\xc3\xa9", "c,d"},
          .transform = {.resize = 232, .size = 200, .interpolation = Interpolation::bicubic},
          .normalization = {{0.485f, 0.456f, 1.0f / 3}, {0.1f, 0.2f, 1e-3f}}};
}

TEST(WeightsInfo, ComesBackFromMetadata) {
  const WeightsInfo read = weights_info(to_metadata(sample()), "x");
  EXPECT_EQ(read.model, "resnet18");
  EXPECT_EQ(read.class_names, sample().class_names);
  EXPECT_EQ(read.transform.resize, 232);
  EXPECT_EQ(read.transform.size, 200);
  EXPECT_EQ(read.transform.interpolation, Interpolation::bicubic);
  EXPECT_EQ(read.normalization.mean, sample().normalization.mean);
  EXPECT_EQ(read.normalization.std, sample().normalization.std);
}

TEST(WeightsInfo, OfOtherProgramsFilesIsEmpty) {
  EXPECT_EQ(weights_info({{"format", "pt"}, {"model", "x"}}, "x").model, "");
}

TEST(WeightsInfo, RefusesWhatItDidNotWrite) {
  const auto message = [](const std::string& key, const std::string& value) {
    SafetensorsMetadata metadata = to_metadata(sample());
    metadata[key] = value;
    return error_text([&] { weights_info(metadata, "net.safetensors"); }, ErrorKind::checkpoint);
  };
  EXPECT_EQ(
      message("engine.crop", "0"),
      "net.safetensors: its metadata have engine.crop=\"0\", expected 1 to 8192 pixels; it was changed, use the file "
      "that training wrote");
  EXPECT_THAT(message("engine.crop", "99999999999"), HasSubstr("expected 1 to 8192"));
  EXPECT_THAT(message("engine.resize", "-1"), HasSubstr("expected 0 to 8192"));
  EXPECT_THAT(message("engine.resize", "256 "), HasSubstr("expected 0 to 8192"));
  for (const char* rgb : {"", "1,2", "1,2,3,4", "1,2,x", "1,nan,2", "1,inf,2", "1;2;3"}) {
    EXPECT_THAT(message("engine.mean", rgb), HasSubstr("expected three numbers")) << rgb;
  }
  EXPECT_THAT(message("engine.std", "1,0,1"), HasSubstr("expected three positive numbers"));
  EXPECT_THAT(message("engine.classes", "[\"a\",1]"), HasSubstr("a JSON array of names"));
  EXPECT_THAT(message("engine.classes", "[[[["), HasSubstr("a JSON array of names"));
  EXPECT_THAT(message("engine.classes", std::string(1 << 20, '[')), HasSubstr("a JSON array of names"));
  EXPECT_THAT(message("engine.interpolation", "nearest"), HasSubstr("bilinear or bicubic"));
}

}  // namespace
}  // namespace engine::testing
