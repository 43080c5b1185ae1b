#include <gtest/gtest.h>

#include "tests/fuzz/replay.h"

namespace engine {
namespace {

std::string with_length(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i));
  return bytes + header + data;
}

// The target aborts the program when a file is neither read right nor refused as a checkpoint error.
TEST(SafetensorsReplay, DamagedHeadersAndFiles) {
  const std::vector<std::string> headers{
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      R"({"__metadata__":{"format":"pt","x":"\u00e9\ud83d\ude00"},"a":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]}})",
      R"({"__metadata__":{"engine.model":"resnet20","engine.classes":"[\"a\",\"\\u00e9\"]","engine.mean":"0.5,0,-1","engine.std":"1,2e-1,3",)"
      R"("engine.resize":"0","engine.crop":"32","engine.interpolation":"bicubic"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      R"({"b":{"shape":[0,5],"dtype":"I64","data_offsets":[4,4]}, "a" : {"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})",
      R"({"a":{"dtype":"F64","shape":[4611686018427387904,4],"data_offsets":[0,18446744073709551615]}})"};
  std::vector<std::string> files;
  for (const std::string& header : headers) files.push_back(with_length(header, std::string(4, 'x')));
  test::replay_damaged(files, 10000);

  // With the length of the header put right after each edit, the edits reach the parser.
  std::mt19937 random(2);
  for (int i = 0; i < 20000; ++i)
    test::run_fuzz_target(with_length(test::damaged(headers, random), std::string(4, 'x')));
}

TEST(SafetensorsReplay, WhatFuzzingKept) {
  test::replay_corpus("safetensors");
}

}  // namespace
}  // namespace engine
