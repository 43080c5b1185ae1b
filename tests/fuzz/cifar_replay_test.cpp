#include <gtest/gtest.h>

#include "tests/data/cifar_testing.h"
#include "tests/fuzz/replay.h"

namespace engine {
namespace {

std::string input(char kind, const test::Bytes& file) {
  return kind + std::string(file.begin(), file.end());
}

// The target aborts the program when a file is neither read right nor refused as a data error.
TEST(CifarReplay, DamagedFiles) {
  test::replay_damaged({input(0, test::cifar10_binary({1, 9})), input(1, test::cifar100_binary({1, 99})),
                        input(2, test::cifar_pickle({1, 9})), input(3, test::cifar_pickle({1, 99}, "fine_labels")),
                        input(4, test::cifar_meta_pickle(test::numbered_names(10)))},
                       10000);
}

// Edits of the pixels teach nothing: here they fall on the rest of the pickle.
TEST(CifarReplay, EveryValueOfEveryByteAroundThePixels) {
  const std::string whole = input(2, test::cifar_pickle({1}));
  const size_t array_end = whole.find("b\x89T");  // a state, False and the elements' opcode and length
  ASSERT_NE(array_end, std::string::npos);
  const size_t pixels = array_end + 7;
  for (size_t at = 1; at < whole.size(); ++at) {
    if (at == pixels) at += 3072;
    std::string changed = whole;
    for (int value = 0; value < 256; ++value) {
      changed[at] = static_cast<char>(value);
      test::run_fuzz_target(changed);
    }
  }
}

TEST(CifarReplay, WhatFuzzingKept) {
  test::replay_corpus("cifar");
}

}  // namespace
}  // namespace engine
