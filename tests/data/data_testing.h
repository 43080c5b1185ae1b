#pragma once
// What several tests of the data pipeline share.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/error.h"
#include "tests/io/io_testing.h"

namespace engine::test {

inline void write_file(const std::filesystem::path& path, const std::vector<uint8_t>& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

inline void write_file(const std::filesystem::path& path, const std::string& text) {
  write_file(path, std::vector<uint8_t>(text.begin(), text.end()));
}

// A PNG of one colour, with its pixels stored rather than compressed.
inline std::vector<uint8_t> solid_png(int width, int height, uint8_t red, uint8_t green, uint8_t blue) {
  std::vector<uint8_t> png;
  for (char c : std::string("\x89PNG\r\n\x1A\n")) png.push_back(static_cast<uint8_t>(c));
  const auto append_u32 = [](std::vector<uint8_t>& to, uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<uint8_t>(value >> shift));
  };
  const auto append_chunk = [&](const std::string& type, const std::vector<uint8_t>& data) {
    append_u32(png, static_cast<uint32_t>(data.size()));
    const size_t begin = png.size();
    for (char c : type) png.push_back(static_cast<uint8_t>(c));
    for (uint8_t byte : data) png.push_back(byte);
    uint32_t crc = ~0u;
    for (size_t i = begin; i < png.size(); ++i) {
      crc ^= png[i];
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    append_u32(png, ~crc);
  };
  std::vector<uint8_t> header;
  append_u32(header, static_cast<uint32_t>(width));
  append_u32(header, static_cast<uint32_t>(height));
  for (uint8_t byte : {8, 2, 0, 0, 0}) header.push_back(byte);  // 8 bits, RGB
  append_chunk("IHDR", header);

  std::vector<uint8_t> rows;
  for (int y = 0; y < height; ++y) {
    rows.push_back(0);
    for (int x = 0; x < width; ++x) {
      for (uint8_t value : {red, green, blue}) rows.push_back(value);
    }
  }
  const auto length = static_cast<uint16_t>(rows.size());
  std::vector<uint8_t> stream;
  for (uint8_t byte : {0x78, 0x01, 0x01}) stream.push_back(byte);
  for (uint16_t value : {length, static_cast<uint16_t>(~length)}) {
    stream.push_back(static_cast<uint8_t>(value));
    stream.push_back(static_cast<uint8_t>(value >> 8));
  }
  uint32_t low = 1, high = 0;  // Adler-32
  for (uint8_t byte : rows) {
    low = (low + byte) % 65521;
    high = (high + low) % 65521;
  }
  for (uint8_t byte : rows) stream.push_back(byte);
  append_u32(stream, high << 16 | low);
  append_chunk("IDAT", stream);
  append_chunk("IEND", {});
  return png;
}

// A data set in memory whose pictures, labels and failures are given by functions.
class FakeDataset : public Dataset {
 public:
  struct Options {
    int64_t size = 10;
    int num_classes = 2;
    std::function<int64_t(int64_t)> label = [](int64_t index) { return index % 2; };
    std::function<Image(int64_t)> load = [](int64_t index) {
      return Image{.width = 1, .height = 1, .pixels = {static_cast<uint8_t>(index), 0, 0}};
    };
    std::function<std::vector<uint8_t>(int64_t)> file = nullptr;  // given: the pictures lie in files
  };

  explicit FakeDataset(Options options) : options_(std::move(options)) {
    for (int c = 0; c < options_.num_classes; ++c) class_names_.push_back("class" + std::to_string(c));
  }

  int64_t size() const override { return options_.size; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int64_t label(int64_t index) const override { return options_.label(index); }
  Image load(int64_t index) const override {
    return options_.file ? decode_picture(read(index)) : options_.load(index);
  }
  Picture read(int64_t index) const override {
    if (!options_.file) return Dataset::read(index);
    return {.image = {}, .file = options_.file(index), .name = describe(index)};
  }
  std::string describe(int64_t index) const override { return "picture " + std::to_string(index); }

 private:
  Options options_;
  std::vector<std::string> class_names_;
};

inline DatasetPtr fake_dataset(FakeDataset::Options options) {
  return std::make_shared<FakeDataset>(std::move(options));
}

}  // namespace engine::test
