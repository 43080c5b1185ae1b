#include "engine/text.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/io/utf8.h"

namespace engine {
namespace {

// Levenshtein distance.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t smallest = std::numeric_limits<size_t>::max();
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < smallest) {
      smallest = distance;
      best = candidate;
    }
  }
  return best;
}

std::string printable(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string result;
  while (!text.empty()) {
    const size_t length = utf8_sequence(text, 0);
    const auto byte = static_cast<uint8_t>(text[0]);
    // C1 control characters (U+0080 to U+009F) can drive a terminal, too.
    const bool c1 = length == 2 && byte == 0xc2 && static_cast<uint8_t>(text[1]) < 0xa0;
    if (length == 0 || byte < 0x20 || byte == 0x7f || byte == '\\' || c1) {
      const size_t count = std::max<size_t>(length, 1);
      for (size_t i = 0; i < count; ++i) {
        const auto escaped = static_cast<uint8_t>(text[i]);
        result.append("\\x").push_back(kHex[escaped >> 4]);
        result.push_back(kHex[escaped & 15]);
      }
      text.remove_prefix(count);
    } else {
      result.append(text.substr(0, length));
      text.remove_prefix(length);
    }
  }
  return result;
}

}  // namespace engine
