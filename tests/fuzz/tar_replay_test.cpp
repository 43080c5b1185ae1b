#include <gtest/gtest.h>

#include <filesystem>

#include "tests/data/goldens.h"
#include "tests/data/tar_testing.h"
#include "tests/fuzz/replay.h"

namespace engine {
namespace {

std::string text_of(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}

// The target aborts the program when a tar is neither read within its bounds nor refused as a data error.
TEST(TarReplay, DamagedTars) {
  test::replay_damaged({text_of(test::TarBuilder().add("a/1.png", "one").add("b/2.png", "two").finish()),
                        text_of(test::TarBuilder().add("1.jpg", "x").add("1.cls", "7").finish()),
                        text_of(test::TarBuilder().pax("path", "a/long.png").add("x", "y").finish()),
                        text_of(test::TarBuilder()
                                    .pax("GNU.sparse.map", "0,1,4096,1")
                                    .pax("size", "99999999999999999999")
                                    .add("a/1.png", "one")
                                    .finish())},
                       2000);
}

TEST(TarReplay, WhatFuzzingKept) {
  test::replay_corpus("tar");
}

TEST(TarReplay, TheRealCorpus) {
  ENGINE_SKIP_WITHOUT_TEST_DATA();
  for (const char* folder : {"images/tar", "faults/tar"}) {
    for (const auto& entry : std::filesystem::directory_iterator(test_data() / folder)) {
      SCOPED_TRACE(entry.path());
      test::run_fuzz_target(text_of(read_bytes(entry.path())));
    }
  }
}

}  // namespace
}  // namespace engine
