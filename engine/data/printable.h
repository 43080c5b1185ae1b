#pragma once
#include <string>
#include <string_view>

namespace engine {

// `text`, safe to show on a terminal or in a log: control characters (C0, DEL, C1) and bytes that are not
// UTF-8 become \n, \t or \xHH, a backslash becomes two, so that different names stay different.
std::string printable(std::string_view text);

}  // namespace engine
