#pragma once
// MANIFEST.json of a checkpoint: what the directory must hold, byte for byte.
//
//   {"files": {"model.safetensors": {"bytes": 94331112, "xxh3_128": "..."}, ...},
//    "format": "engine-checkpoint", "step": 12345, "version": 1, "xxh3_128": "..."}
//
// The last member is the sum of the object without it in compact form with sorted keys, so that no damaged manifest is
// believed.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "engine/io/file.h"

namespace engine {

inline constexpr int kManifestVersion = 1;

struct Manifest {
  std::int64_t step = 0;
  std::map<std::string, FileDigest> files;
};

std::string manifest_json(const Manifest& manifest);

// Throws Error(checkpoint) for anything that manifest_json() would not have written. `origin` names the text in
// messages.
Manifest parse_manifest(std::string_view text, const std::string& origin);

}  // namespace engine
