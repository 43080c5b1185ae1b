#include "kernels/emulator/shared_memory.h"

#include <cstring>

#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/sanitizer.h"
#include "kernels/emulator/scheduler.h"
#include "kernels/emulator/shared_window.h"

namespace engine::kernels::emulator {
namespace {

constexpr size_t kDynamicOffset = 1024;
constexpr size_t kGap = 64;    // between arrays, so that an access past the end of one hits none
constexpr int kPoison = 0xff;  // NaN in float, bf16 and f16

size_t round_up(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

void begin_shared_memory(Block& block, size_t dynamic_bytes) {
  sanitizer::poison(block.shared, kSharedWindow);
  block.dynamic_shared = block.shared + kDynamicOffset;
  block.dynamic_bytes = dynamic_bytes;
  sanitizer::unpoison(block.dynamic_shared, dynamic_bytes);
  std::memset(block.dynamic_shared, kPoison, dynamic_bytes);
  block.statics.clear();
  block.static_end = kDynamicOffset + dynamic_bytes;
  if constexpr (race::kEnabled) race::begin_shared(block, kDynamicOffset, dynamic_bytes);
}

void* static_shared(const void* key, size_t bytes, size_t alignment) {
  Block& block = self().block();
  for (const auto& [known, offset] : block.statics)
    if (known == key) return block.shared + offset;
  const size_t offset = round_up(block.static_end + kGap, alignment);
  if (offset + bytes + kGap > kSharedWindow) {
    report(Check::misuse, {}, "%zu bytes of dynamic shared memory and the static arrays do not fit into a block",
           block.dynamic_bytes);
    abandon_block();
  }
  block.static_end = offset + bytes;
  block.statics.emplace_back(key, offset);
  char* address = block.shared + offset;
  sanitizer::unpoison(address, bytes);
  std::memset(address, kPoison, bytes);
  if constexpr (race::kEnabled) race::begin_shared(block, offset, bytes);
  return address;
}

uint32_t shared_offset(const void* address, Site site) {
  const size_t offset = static_cast<size_t>(static_cast<const char*>(address) - self().block().shared);
  if (offset < kSharedWindow) return static_cast<uint32_t>(offset);
  report(Check::bounds, site, "an address that should lie in shared memory does not");
  return kDynamicOffset;
}

}  // namespace engine::kernels::emulator
