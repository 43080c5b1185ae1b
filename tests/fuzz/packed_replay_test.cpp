#include <gtest/gtest.h>

#include "engine/data/pack.h"
#include "tests/data/data_testing.h"
#include "tests/data/goldens.h"
#include "tests/fuzz/replay.h"

namespace engine {
namespace {

// The target aborts the program when a file is neither read within its bounds nor refused as a data error.
TEST(PackedReplay, DamagedFiles) {
  const test::TemporaryDirectory directory;
  const std::string path = (directory.path() / "a.pack").string();
  const auto part = test::fake_dataset({.size = 3});
  pack_dataset({.train = part, .val = part, .summary = ""}, path, {});
  const std::vector<uint8_t> bytes = read_bytes(path);
  test::replay_damaged({{bytes.begin(), bytes.end()}}, 3000);
}

TEST(PackedReplay, WhatFuzzingKept) {
  test::replay_corpus("packed");
}

}  // namespace
}  // namespace engine
