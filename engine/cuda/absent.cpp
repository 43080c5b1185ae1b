// The CUDA and emulated backends of a build that has neither.
#include <string>

#include "engine/backend.h"

namespace engine {

Backend* cuda_backend(int, std::string* reason) {
  if (reason != nullptr) *reason = "this build has no CUDA backend; use --device cpu";
  return nullptr;
}

Backend* emulated_backend(std::string* reason) {
  if (reason != nullptr) *reason = "this build has no emulated backend; use --device cpu";
  return nullptr;
}

}  // namespace engine
