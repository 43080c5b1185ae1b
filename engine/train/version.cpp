#include "engine/train/version.h"

namespace engine {

const char* version() {
  return ENGINE_VERSION;
}

std::string build_description() {
  return ENGINE_BUILD;
}

}  // namespace engine
