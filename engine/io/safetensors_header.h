#pragma once
// The JSON header of a safetensors file. Private to engine/io.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/safetensors.h"

namespace engine {

struct SafetensorsHeaderEntry {
  std::string name;
  SafetensorsDType dtype;
  std::vector<std::int64_t> shape;
  std::array<std::uint64_t, 2> offsets;  // begin, end, relative to the first byte after the header
};

struct SafetensorsHeader {
  std::vector<SafetensorsHeaderEntry> entries;  // in header order; names may repeat, offsets are as written
  SafetensorsMetadata metadata;
};

// Throws Error(checkpoint) with the byte at which the text stops being a header.
SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& origin);

// A JSON string literal. `text` must be UTF-8.
std::string json_string(std::string_view text);
// A name out of a file for a message: printable, at most 80 bytes of it.
std::string shown_name(std::string_view name);

}  // namespace engine
