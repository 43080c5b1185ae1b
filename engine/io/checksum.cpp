#include "engine/io/checksum.h"

#include <xxhash.h>

#include <fcntl.h>

#include <algorithm>
#include <new>
#include <vector>

#include "engine/io/file.h"

namespace engine {
namespace {

std::string canonical_hex(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * sizeof canonical.digest);
  for (const unsigned char byte : canonical.digest) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

}  // namespace

std::string xxh3_128_hex(std::span<const std::byte> bytes) {
  return canonical_hex(XXH3_128bits(bytes.data(), bytes.size()));
}

struct Xxh3Hasher::State {
  State() : xxh3(XXH3_createState()) {
    if (!xxh3) throw std::bad_alloc();
    XXH3_128bits_reset(xxh3);
  }
  ~State() { XXH3_freeState(xxh3); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  XXH3_state_t* xxh3;
};

Xxh3Hasher::Xxh3Hasher() : state_(std::make_unique<State>()) {}
Xxh3Hasher::~Xxh3Hasher() = default;
Xxh3Hasher::Xxh3Hasher(Xxh3Hasher&&) noexcept = default;
Xxh3Hasher& Xxh3Hasher::operator=(Xxh3Hasher&&) noexcept = default;

void Xxh3Hasher::update(std::span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_128bits_update(state_->xxh3, bytes.data(), bytes.size());
}

std::string Xxh3Hasher::hex() const {
  return canonical_hex(XXH3_128bits_digest(state_->xxh3));
}

std::string xxh3_128_hex_of_file(const std::filesystem::path& path, FileOps& ops) {
  OpenFile file(path, O_RDONLY, ErrorKind::checkpoint, ops);
  constexpr std::uint64_t kPieceBytes = 1 << 20;
  std::vector<std::byte> piece(std::clamp<std::uint64_t>(file.size(), 1, kPieceBytes));
  Xxh3Hasher hasher;
  while (const std::size_t got = file.read_some(piece)) hasher.update(std::span(piece).first(got));
  return hasher.hex();
}

std::string xxh3_128_hex_of_file(const std::filesystem::path& path) {
  return xxh3_128_hex_of_file(path, FileOps::real());
}

}  // namespace engine
