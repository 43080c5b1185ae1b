#include <gtest/gtest.h>

#include "engine/io/manifest.h"
#include "tests/fuzz/replay.h"

namespace engine {
namespace {

// The target aborts the program when a text is neither read and written back alike nor refused as a checkpoint error.
TEST(ManifestReplay, DamagedManifests) {
  test::replay_damaged(
      {manifest_json({.step = 7, .files = {{"model.safetensors", {12, "00ff"}}, {"state.json", {0, ""}}}}),
       R"({"files":{"a":{"bytes":18446744073709551615,"xxh3_128":""}},"format":"engine-checkpoint","step":0,"version":1})",
       R"([[[[[[{"a":1e400,"b":null,"c":[true,-1]}]]]]]])"},
      5000);
}

TEST(ManifestReplay, WhatFuzzingKept) {
  test::replay_corpus("manifest");
}

}  // namespace
}  // namespace engine
