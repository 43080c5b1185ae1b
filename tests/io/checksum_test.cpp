#include "engine/io/checksum.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/io/crc32c.h"
#include "engine/io/file.h"
#include "tests/io/io_testing.h"

namespace engine {
namespace {

using test::bytes_of;

TEST(Xxh3, KnownAnswers) {
  // XXH3-128 with seed 0 and the default secret, as `xxhsum -H2` prints them.
  EXPECT_EQ(xxh3_128_hex({}), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(xxh3_128_hex(bytes_of("abc")), "06b05ab6733a618578af5f94892f3950");
}

TEST(Xxh3, FileAndPiecesAgreeWithMemory) {
  test::TemporaryDirectory directory;
  std::vector<std::byte> bytes((std::size_t{1} << 20) + 77);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 2654435761u >> 24);
  write_file_atomically(directory.path() / "a", bytes);
  EXPECT_EQ(xxh3_128_hex_of_file(directory.path() / "a"), xxh3_128_hex(bytes));
  Xxh3Hasher hasher;
  hasher.update(std::span(bytes).first(3));
  hasher.update({});
  hasher.update(std::span(bytes).subspan(3));
  EXPECT_EQ(hasher.hex(), xxh3_128_hex(bytes));
}

TEST(Crc32c, KnownAnswersOfRfc3720) {
  std::vector<std::byte> zeros(32), ones(32, std::byte{0xff}), ascending, descending;
  for (int i = 0; i < 32; ++i) {
    ascending.push_back(static_cast<std::byte>(i));
    descending.push_back(static_cast<std::byte>(31 - i));
  }
  for (const auto sum : {&crc32c, &crc32c_portable}) {
    EXPECT_EQ(sum(zeros, 0), 0x8a9136aau);
    EXPECT_EQ(sum(ones, 0), 0x62a8ab43u);
    EXPECT_EQ(sum(ascending, 0), 0x46dd794eu);
    EXPECT_EQ(sum(descending, 0), 0x113fdb5cu);
    EXPECT_EQ(sum(bytes_of("123456789"), 0), 0xe3069283u);
    EXPECT_EQ(sum({}, 0), 0u);
  }
}

RC_GTEST_PROP(Crc32c, InstructionAndTablesAgreeAndContinue, (const std::string& text, std::size_t cut)) {
  const auto bytes = bytes_of(text);
  cut %= bytes.size() + 1;
  const auto whole = std::span<const std::byte>(bytes);
  RC_ASSERT(crc32c(whole) == crc32c_portable(whole));
  RC_ASSERT(crc32c(whole.subspan(cut), crc32c_portable(whole.first(cut))) == crc32c(whole));
}

TEST(Crc32c, Mask) {
  EXPECT_EQ(masked_crc32c(0), 0xa282ead8u);
}

}  // namespace
}  // namespace engine
