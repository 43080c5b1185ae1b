#pragma once
// CRC-32C (Castagnoli, RFC 3720 appendix B.4): reflected polynomial 0x82f63b78.
#include <cstddef>
#include <cstdint>
#include <span>

namespace engine {

// Uses the SSE4.2 instruction where the processor has it. Pass an earlier result as `crc` to continue it.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t crc = 0);
// The same by tables, eight bytes at a time.
std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t crc = 0);

// As TensorFlow's record files store it, so that a sum over bytes that contain sums stays meaningful.
constexpr std::uint32_t masked_crc32c(std::uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

}  // namespace engine
