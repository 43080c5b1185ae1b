#pragma once
// Tars for tests, whole and damaged.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace engine::test {

class TarBuilder {
 public:
  // A member of the ustar format; `type` '0' is a regular file, '2' a symbolic link, '5' a folder.
  TarBuilder& add(const std::string& name, const std::vector<uint8_t>& content, char type = '0',
                  const std::string& link = "") {
    header(name, content.size(), type, link);
    append(content);
    return *this;
  }
  TarBuilder& add(const std::string& name, const std::string& content) {
    return add(name, std::vector<uint8_t>(content.begin(), content.end()));
  }
  // A pax header with one record, for the member that follows.
  TarBuilder& pax(const std::string& key, const std::string& value) {
    const std::string rest = " " + key + "=" + value + "\n";
    size_t length = rest.size() + 1;
    while (std::to_string(length).size() + rest.size() != length) ++length;
    const std::string record = std::to_string(length) + rest;
    header("PaxHeader", record.size(), 'x', "");
    append({record.begin(), record.end()});
    return *this;
  }
  // A header that claims `size` bytes, with nothing behind it.
  TarBuilder& header(const std::string& name, uint64_t size, char type, const std::string& link) {
    char block[512] = {};
    std::snprintf(block, 100, "%s", name.c_str());
    std::snprintf(block + 100, 8, "%07o", 0644u);
    std::snprintf(block + 108, 8, "%07o", 0u);
    std::snprintf(block + 116, 8, "%07o", 0u);
    std::snprintf(block + 124, 12, "%011llo", static_cast<unsigned long long>(size));
    std::snprintf(block + 136, 12, "%011o", 0u);
    block[156] = type;
    std::snprintf(block + 157, 100, "%s", link.c_str());
    std::memcpy(block + 257, "ustar\00000", 8);
    std::memset(block + 148, ' ', 8);
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    std::snprintf(block + 148, 8, "%06o", sum);
    bytes_.insert(bytes_.end(), block, block + sizeof block);
    return *this;
  }
  std::vector<uint8_t> finish() const {
    std::vector<uint8_t> tar = bytes_;
    tar.resize(tar.size() + 1024);
    return tar;
  }
  const std::vector<uint8_t>& unfinished() const { return bytes_; }

 private:
  void append(const std::vector<uint8_t>& content) {
    bytes_.insert(bytes_.end(), content.begin(), content.end());
    bytes_.resize((bytes_.size() + 511) / 512 * 512);
  }

  std::vector<uint8_t> bytes_;
};

}  // namespace engine::test
