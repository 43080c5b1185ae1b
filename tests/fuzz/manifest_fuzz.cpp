// Any text either parses as a manifest that is written and read back alike, or is refused by Error(checkpoint). A JSON
// object is tried a second time with the right sum put in, because few inputs would pass that gate by themselves.
#include <nlohmann/json.hpp>

#include <cstdlib>

#include "engine/io/manifest.h"

namespace {

void try_manifest(std::string_view text) {
  try {
    const engine::Manifest manifest = engine::parse_manifest(text, "fuzz");
    const std::string written = engine::manifest_json(manifest);
    if (engine::manifest_json(engine::parse_manifest(written, "again")) != written) std::abort();
  } catch (const engine::Error& error) {
    if (error.kind() != engine::ErrorKind::checkpoint) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try_manifest(text);
  auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (object.is_object()) {
    object.erase("xxh3_128");
    const std::string summed = object.dump();
    object["xxh3_128"] = engine::xxh3_128_hex(std::as_bytes(std::span(summed)));
    try_manifest(object.dump());
  }
  return 0;
}
