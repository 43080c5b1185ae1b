#include <gtest/gtest.h>

#include "engine/train/config.h"
#include "tests/fuzz/replay.h"

namespace engine {
namespace {

// The target aborts the program when a text is neither read and written back alike nor refused as a usage error.
TEST(ConfigReplay, DamagedSettings) {
  test::replay_damaged(
      {config_json({}), R"({"config":{"lr":0.1,"lr_milestones":[1,2.5],"nesterov":true,"epochs":null,"seed":1e3}})",
       R"({"lr":1e400,"batch_size":-1,"workers":18446744073709551616,"model":"\u0000","crop":"x"})"},
      3000);
}

TEST(ConfigReplay, WhatFuzzingKept) {
  test::replay_corpus("config");
}

}  // namespace
}  // namespace engine
