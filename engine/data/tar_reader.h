#pragma once
// The table of contents of a tar file. Private to engine/data.
#include <cstdint>
#include <functional>
#include <string>

#include "engine/data/input_file.h"

namespace engine {

struct TarMember {
  std::string name;     // as stored; nothing is ever written to it
  uint64_t offset = 0;  // of its bytes in the file that the tar lies in
  uint64_t bytes = 0;
};

// Reports the regular files of the uncompressed tar that is bytes begin ... begin+size-1 of `file`, in order; folders,
// links and devices are passed over. Reads headers only, by libarchive: ustar, GNU and pax. Throws
// Error(ErrorKind::data) naming the file if that is no tar, is cut off or damaged, or has a member with holes.
void list_tar(const InputFile& file, uint64_t begin, uint64_t size,
              const std::function<void(const TarMember&)>& member);

}  // namespace engine
