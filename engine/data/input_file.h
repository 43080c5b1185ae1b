#pragma once
// A file open for reading at any place. Private to engine/data.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace engine {

// Read with pread() rather than mapped: a file that is cut off under a mapping ends the process by SIGBUS, while here
// it is an Error that names it; the copy costs a hundredth of decoding. May be used by several threads at once.
class InputFile {
 public:
  // Throws Error(ErrorKind::data), beginning with `name`, unless `path` is a regular file that can be opened: a pipe or
  // device never blocks the reader.
  InputFile(const std::string& path, std::string name);
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile();

  const std::string& name() const { return name_; }
  uint64_t size() const { return size_; }  // when it was opened

  // How much of `bytes` was filled: less than all only at the end of the file.
  size_t read_some(uint64_t offset, std::span<uint8_t> bytes) const;
  // All of them, or Error(ErrorKind::data).
  void read(uint64_t offset, std::span<uint8_t> bytes) const;
  std::vector<uint8_t> read(uint64_t offset, size_t count) const;

 private:
  std::string name_;
  uint64_t size_ = 0;
  int descriptor_;
};

}  // namespace engine
