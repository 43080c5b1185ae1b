// The graphs that are asked of cuDNN are well-formed: it judges them without a GPU too. Whether what it computes is
// right, tests/engine/conv_test shows on a GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "kernels/cuda/libraries.h"

namespace engine::kernels::cuda {
namespace {

TEST(Cudnn, AcceptsEveryGraph) {
  const char* version = "";
  if (const Status status = cudnn().load(&version); !status.ok()) GTEST_SKIP() << "no cuDNN: " << status.text;
  for (const DataType type : {DataType::f32, DataType::bf16, DataType::f16})
    for (const ConvDirection direction :
         {ConvDirection::forward, ConvDirection::backward_data, ConvDirection::backward_weights})
      for (int epilogue = 0; epilogue < (direction == ConvDirection::forward ? 5 : 1); ++epilogue)
        for (const int64_t groups : {1, 32}) {
          LibraryPlan* plan = nullptr;
          const Status status = cudnn().create({.shape = {.n = 4,
                                                          .h = 28,
                                                          .w = 28,
                                                          .c = 128,
                                                          .k = 256,
                                                          .r = 3,
                                                          .s = 3,
                                                          .stride = 2,
                                                          .padding = 1,
                                                          .groups = groups},
                                                .type = type,
                                                .direction = direction,
                                                .f32_gradient = direction == ConvDirection::backward_weights,
                                                .scale_shift = epilogue >= 1,
                                                .residual = epilogue == 2 || epilogue == 4,
                                                .relu = epilogue >= 3},
                                               &plan);
          // Where there is no driver the graph has passed all the same; an engine for it may be missing.
          EXPECT_TRUE(status.ok() || status.problem == Problem::unsupported || status.code == 35 || status.code == 100)
              << status.text << " (" << status.code << "), type " << static_cast<int>(type) << ", direction "
              << static_cast<int>(direction) << ", epilogue " << epilogue << ", groups " << groups;
          if (plan != nullptr) cudnn().destroy(plan);
        }
}

// In a process of its own, since a library is looked for once.
TEST(CudnnDeathTest, PartsOfDifferentVersions) {
  const auto report = [] {
    setenv("ENGINE_CUDNN", MIXED_CUDNN, 1);
    const char* version = "";
    const Status status = cudnn().load(&version);
    std::fprintf(stderr, "%s: %s\n", version, status.text);
    std::exit(0);
  };
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      report(), ::testing::ExitedWithCode(0),
      ::testing::ContainsRegex("^9.1.2: its parts are of different versions \\(.*/libcudnn_mixed.so\\): leave one "
                               "cuDNN in LD_LIBRARY_PATH, or name its libcudnn.so.9 in ENGINE_CUDNN"));
}

TEST(Cudnn, RefusesAGraphThatIsNone) {
  const char* version = "";
  if (const Status status = cudnn().load(&version); !status.ok()) GTEST_SKIP() << "no cuDNN: " << status.text;
  LibraryPlan* plan = nullptr;
  const Status status = cudnn().create({.shape = {.n = 1, .h = 8, .w = 8, .c = 8, .k = 8, .stride = -1}}, &plan);
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.code, 35) << "the graph was judged before the driver was asked for";
  EXPECT_EQ(plan, nullptr);
}

}  // namespace
}  // namespace engine::kernels::cuda
