#pragma once
// XXH3-128 of memory and files, as 32 lower-case hexadecimal digits (the canonical form that `xxhsum -H2` prints).
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace engine {

class FileOps;

std::string xxh3_128_hex(std::span<const std::byte> bytes);

// Reads the file in pieces. Throws Error(checkpoint) when it cannot be read.
std::string xxh3_128_hex_of_file(const std::filesystem::path& path);
std::string xxh3_128_hex_of_file(const std::filesystem::path& path, FileOps& ops);

// The same sum over bytes that arrive in pieces.
class Xxh3Hasher {
 public:
  Xxh3Hasher();
  ~Xxh3Hasher();
  Xxh3Hasher(Xxh3Hasher&&) noexcept;
  Xxh3Hasher& operator=(Xxh3Hasher&&) noexcept;

  void update(std::span<const std::byte> bytes);
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace engine
