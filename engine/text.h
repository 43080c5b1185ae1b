#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace engine {

// The candidate with the smallest edit distance to `word` (the first of equals); empty if there are no candidates.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// `text` with backslashes, control characters and bytes that are not UTF-8 as \xNN: file names for messages and logs.
std::string printable(std::string_view text);

}  // namespace engine
