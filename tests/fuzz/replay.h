#pragma once
// Runs a fuzz target over damaged variants of good inputs, the same ones every time: what a machine without libFuzzer
// can do.
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace engine::test {

inline void run_fuzz_target(std::string_view input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

// One to four edits: a byte replaced, erased, inserted or doubled in a run; a piece of another seed spliced in; a cut.
inline std::string damaged(const std::vector<std::string>& seeds, std::mt19937& random) {
  const auto below = [&](std::size_t limit) { return limit == 0 ? std::size_t{0} : random() % limit; };
  static constexpr std::string_view kTelling = "{}[]\",:0123456789-.eE\\u \0\xff";
  std::string text = seeds[below(seeds.size())];
  for (std::size_t edits = 1 + below(4); edits > 0; --edits) {
    const std::size_t at = below(text.size());
    const std::string& other = seeds[below(seeds.size())];
    switch (below(6)) {
      case 0:
        if (!text.empty()) text[at] = kTelling[below(kTelling.size())];
        break;
      case 1:
        text.erase(at, 1 + below(8));
        break;
      case 2:
        text.insert(at, 1 + below(4), kTelling[below(kTelling.size())]);
        break;
      case 3:
        text.insert(at, text.substr(at, 1 + below(32)));
        break;
      case 4:
        text.insert(at, other.substr(below(other.size()), 1 + below(32)));
        break;
      default:
        text.resize(at);
    }
  }
  return text;
}

// The inputs that fuzzing kept (tests/fuzz/run.py): length as u32, then bytes, each.
inline void replay_corpus(const std::string& name) {
  const std::string path = ENGINE_CORPUS_DIR "/" + name + ".bin";
  std::ifstream file(path, std::ios::binary);
  const std::string packed{std::istreambuf_iterator<char>(file), {}};
  ASSERT_FALSE(packed.empty()) << path;
  for (std::size_t at = 0; at < packed.size();) {
    std::size_t size = 0;
    for (std::size_t i = 0; i < 4; ++i) size |= std::size_t{static_cast<unsigned char>(packed.at(at + i))} << (8 * i);
    ASSERT_LE(size, packed.size() - at - 4) << path;
    // A copy of its own, so that AddressSanitizer sees a read beyond its end.
    run_fuzz_target(std::string(packed, at + 4, size));
    at += 4 + size;
  }
}

inline void replay_damaged(const std::vector<std::string>& seeds, int count) {
  std::mt19937 random(1);
  for (const std::string& seed : seeds) run_fuzz_target(seed);
  for (int i = 0; i < count; ++i) run_fuzz_target(damaged(seeds, random));
}

}  // namespace engine::test
