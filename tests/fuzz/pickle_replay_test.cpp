#include <gtest/gtest.h>

#include "tests/data/cifar_testing.h"
#include "tests/fuzz/replay.h"

namespace engine {
namespace {

using test::PickleWriter;

std::string text_of(const test::Bytes& bytes) {
  return {bytes.begin(), bytes.end()};
}

// One of each opcode that the reader knows, beside the published files' own.
std::vector<std::string> seeds() {
  return {
      text_of(test::cifar_meta_pickle(test::numbered_names(10))),
      text_of(PickleWriter().array({2, 3}, "abcdef").finish()),
      text_of(PickleWriter().op("}(").text("labels").labels({1, 300, -1}).text("x").op("N\x88\x89)(tu").finish()),
      text_of(PickleWriter()
                  .op("]q\x01h\x01"
                      "a(\x8A\x01\xFF"
                      "G12345678e")
                  .finish()),
      text_of(PickleWriter()
                  .op("\x95"
                      "12345678(\x8C\x05numpy\x94\x8C\x05"
                      "dtype\x94\x93\x94\x8C\x02u1\x85R\x94N\x85"
                      "bt")
                  .finish()),
      text_of(PickleWriter()
                  .op("}C\x01"
                      "aK\x02s")
                  .finish()),
  };
}

// The target aborts the program when a pickle is neither read right nor refused as a data error.
TEST(PickleReplay, DamagedPickles) {
  test::replay_damaged(seeds(), 30000);
}

TEST(PickleReplay, EveryValueOfEveryByte) {
  for (const std::string& seed : seeds()) {
    for (size_t at = 0; at < seed.size(); ++at) {
      std::string changed = seed;
      for (int value = 0; value < 256; ++value) {
        changed[at] = static_cast<char>(value);
        test::run_fuzz_target(changed);
      }
    }
  }
}

TEST(PickleReplay, WhatFuzzingKept) {
  test::replay_corpus("pickle");
}

}  // namespace
}  // namespace engine
