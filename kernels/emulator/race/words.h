#pragma once
// Shadow memory is kept by words of 4 bytes, with a bit for each byte. Private to kernels/emulator.
#include <cstddef>
#include <cstdint>

namespace engine::kernels::emulator::race {

// Calls f(word, mask) for each word of [offset, offset + bytes), mask telling which of its bytes are meant.
template <class F>
inline void for_each_word(size_t offset, size_t bytes, F&& f) {
  const size_t end = offset + bytes;
  for (size_t word = offset / 4; word * 4 < end; ++word) {
    unsigned mask = 15;
    if (word * 4 < offset) mask &= 15u << (offset - word * 4);
    if (word * 4 + 4 > end) mask &= 15u >> (word * 4 + 4 - end);
    f(word, mask & 15u);
  }
}

}  // namespace engine::kernels::emulator::race
