#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace engine {

// The bytes of the regular file `path`. Throws Error(ErrorKind::data), beginning with `name`, if it cannot be
// opened or read, is not a regular file (a pipe or device never blocks the reader), or exceeds `max_bytes`.
std::vector<uint8_t> read_file(const std::string& path, const std::string& name, int64_t max_bytes);

}  // namespace engine
