#pragma once
// Well-formed UTF-8, as table 3-7 of the Unicode standard defines it: no overlong forms, no surrogates, at most
// U+10FFFF.
#include <cstddef>
#include <string_view>

namespace engine {

// Bytes of the character that starts at text[i], 1 to 4; 0 if no well-formed one does.
std::size_t utf8_sequence(std::string_view text, std::size_t i);
bool is_utf8(std::string_view text);

}  // namespace engine
