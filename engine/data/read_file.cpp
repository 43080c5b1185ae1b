#include "engine/data/read_file.h"

#include "engine/data/input_file.h"
#include "engine/error.h"

namespace engine {

std::vector<uint8_t> read_file(const std::string& path, const std::string& name, int64_t max_bytes) {
  const InputFile file(path, name);
  if (file.size() > static_cast<uint64_t>(max_bytes)) {
    fail(ErrorKind::data, name, ": is ", file.size(), " bytes, but at most ", max_bytes, " are read");
  }
  return file.read(0, static_cast<size_t>(file.size()));
}

}  // namespace engine
