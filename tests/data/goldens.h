#pragma once
// What Pillow made of the same images (tests/data/golden, written by pillow_goldens.py).
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/data/image.h"

namespace engine {

inline std::vector<uint8_t> read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::filesystem::path golden_path(const std::string& name) {
  return std::filesystem::path(ENGINE_GOLDEN_DIR) / name;
}

// The lines of a golden list, split at tabs.
inline std::vector<std::vector<std::string>> golden_rows(const std::string& name) {
  std::ifstream file(golden_path(name));
  if (!file) throw std::runtime_error("cannot read " + golden_path(name).string());
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    auto& row = rows.emplace_back();
    for (std::string field; std::getline(fields, field, '\t');) row.push_back(field);
  }
  return rows;
}

inline std::string hash(std::span<const uint8_t> bytes) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(XXH64(bytes.data(), bytes.size(), 0)));
  return text;
}

// pattern() of pillow_goldens.py.
inline Image pattern(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c) {
        const int smooth = x * (7 + 3 * c) + y * (13 - 2 * c) + x * y / (5 + c) + 29 * c;
        const int hard = (x / 4 + y / 3) % 5 == 0 ? 255 : 0;
        image.pixels.push_back(static_cast<uint8_t>((x + y) % 11 < 3 ? hard : smooth));
      }
  return image;
}

// The folder of ENGINE_TEST_DATA, or empty.
inline std::filesystem::path test_data() {
  const char* path = std::getenv("ENGINE_TEST_DATA");
  return path == nullptr ? "" : path;
}

}  // namespace engine

#define ENGINE_SKIP_WITHOUT_TEST_DATA() \
  if (test_data().empty()) GTEST_SKIP() << "set ENGINE_TEST_DATA to the folder with real images"
