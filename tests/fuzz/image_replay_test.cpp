// Runs the fuzz target without a fuzzer: on every golden image with bytes changed at random places, the same
// ones each time, and on the real corpus if there is one.
#include <gtest/gtest.h>

#include "engine/random.h"
#include "tests/data/goldens.h"
#include "tests/fuzz/replay.h"

namespace engine {
namespace {

TEST(ImageFuzz, SurvivesChangedBytes) {
  uint64_t number = 0;
  for (const auto& row : golden_rows("decode.tsv")) {
    SCOPED_TRACE(row[0]);
    const std::vector<uint8_t> whole = read_bytes(golden_path(row[0]));
    for (int round = 0; round < 40; ++round) {
      RandomStream random(1, 0, ++number, purpose::kAugmentation);
      std::vector<uint8_t> bytes = whole;
      const uint32_t changes = 1 + random.below(8);
      for (uint32_t i = 0; i < changes; ++i)
        bytes[random.below(static_cast<uint32_t>(bytes.size()))] = static_cast<uint8_t>(random.next_u32());
      ASSERT_EQ(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()), 0);
    }
  }
}

TEST(ImageFuzz, SurvivesTheRealCorpus) {
  ENGINE_SKIP_WITHOUT_TEST_DATA();
  for (const char* folder : {"images/odd", "images/png-suite", "images/jpeg-seeds", "faults"})
    for (const auto& entry : std::filesystem::directory_iterator(test_data() / folder)) {
      if (!entry.is_regular_file()) continue;
      SCOPED_TRACE(entry.path());
      const std::vector<uint8_t> bytes = read_bytes(entry.path());
      ASSERT_EQ(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()), 0);
    }
}

TEST(ImageFuzz, WhatFuzzingKept) {
  test::replay_corpus("jpeg");
  test::replay_corpus("png");
}

}  // namespace
}  // namespace engine
