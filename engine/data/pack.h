#pragma once
// Writing packed data sets (engine/data/packed.h).
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/data/dataset.h"

namespace engine {

struct PackOptions {
  enum class Format {
    original,  // files byte for byte, but for those that are resized: JPEG; pixels where there was no file
    jpeg,      // everything encoded anew
    raw,       // RGB bytes: no decoding later, at 3 to 10 times the size
  };
  Format format = Format::original;
  int max_side = 0;  // a longer side is reduced to it; 0: any
  int resize = 0;    // a longer short side is reduced to it; 0: any
  int quality = 90;  // of what is encoded
  int workers = 2;
  bool skip_bad = false;  // leave pictures out that cannot be decoded; otherwise the first one ends the packing
  std::string root;       // left out at the beginning of the pictures' names
  std::function<void(int64_t done, int64_t all)> progress = nullptr;  // called after each picture
};

struct PackReport {
  int64_t pictures = 0;
  int64_t encoded = 0;            // of them, not copied
  std::vector<std::string> left;  // out: a sentence about each
  uint64_t bytes = 0;             // of the file
};

// Writes the training part and, if there is one, the validation part to `path`, which appears only when it is complete
// and on disk. Every picture is decoded once, so that the file holds sound ones only; the bytes do not depend on the
// number of workers.
// Throws Error(usage) for sizes and qualities that cannot be, Error(data) for a picture that cannot be decoded and for
// a failure to write.
PackReport pack_dataset(const DatasetPair& data, const std::string& path, const PackOptions& options);

}  // namespace engine
