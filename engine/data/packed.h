#pragma once
// A whole data set in one file: what resnet-pack writes. One open file instead of a million, read in any order, and
// every record carries a checksum.
#include <cstdint>
#include <functional>
#include <string>

#include "engine/data/dataset.h"

namespace engine {

// Whether the file `path` begins as a packed data set does.
bool is_packed(const std::string& path);

// The parts of the file; `val` is null if it has none, `train` is the only part otherwise. Reads the index alone.
// Throws Error(ErrorKind::data) if the file is cut off, its index is damaged, or records lie outside of it or overlap.
// A record whose checksum is wrong is found when it is read: Dataset::read() and load() throw, naming it.
DatasetPair open_packed(const std::string& path);

// Reads and decodes every record; `on_bad` receives a sentence about each that cannot be. Returns how many are sound.
int64_t verify_packed(const std::string& path, const std::function<void(const std::string&)>& on_bad);

}  // namespace engine
