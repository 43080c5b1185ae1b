#include "engine/io/finite.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace engine {
namespace {

// Whether every exponent is below all ones, in blocks that stay in the cache and compile to vector code.
template <class Bits>
bool all_finite(std::span<const std::byte> bytes, Bits exponent) {
  std::array<Bits, 1024> block;
  while (!bytes.empty()) {
    const std::size_t size = std::min(bytes.size(), sizeof block);
    const std::size_t count = size / sizeof(Bits);
    std::memcpy(block.data(), bytes.data(), count * sizeof(Bits));
    Bits found = 0;
    for (std::size_t i = 0; i < count; ++i) found |= static_cast<Bits>((block[i] & exponent) == exponent);
    if (found != 0) return false;
    bytes = bytes.subspan(size);
  }
  return true;
}

bool all_finite(const TensorView& view) {
  switch (view.dtype) {
    case SafetensorsDType::f64:
      return all_finite<std::uint64_t>(view.data, 0x7ff0'0000'0000'0000);
    case SafetensorsDType::f32:
      return all_finite<std::uint32_t>(view.data, 0x7f80'0000);
    case SafetensorsDType::bf16:
      return all_finite<std::uint16_t>(view.data, 0x7f80);
    case SafetensorsDType::f16:
      return all_finite<std::uint16_t>(view.data, 0x7c00);
    default:
      return true;
  }
}

}  // namespace

std::optional<std::string> first_not_finite(std::span<const TensorView> views) {
  for (const TensorView& view : views) {
    if (!all_finite(view)) return view.name;
  }
  return std::nullopt;
}

}  // namespace engine
