#include <gtest/gtest.h>

#include "tests/fuzz/replay.h"

namespace engine {
namespace {

// The target aborts the program when a picture is not that of the file without the block.
TEST(ExifReplay, DamagedAndHugeBlocks) {
  const std::string block("Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0", 32);
  test::replay_damaged({block, block + block, std::string(8, '\xff'), "\xff\xd9\xff\xd8"}, 2000);
  test::run_fuzz_target(block + std::string(70000, '\xff'));
}

TEST(ExifReplay, WhatFuzzingKept) {
  test::replay_corpus("exif");
}

}  // namespace
}  // namespace engine
