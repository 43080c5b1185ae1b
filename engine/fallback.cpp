#include "engine/fallback.h"

#include <mutex>

namespace engine {
namespace {

std::mutex mutex;
std::map<std::string, int64_t>& counts() {
  static std::map<std::string, int64_t> map;
  return map;
}

}  // namespace

std::map<std::string, int64_t> fallbacks() {
  const std::lock_guard lock(mutex);
  return counts();
}

void clear_fallbacks() {
  const std::lock_guard lock(mutex);
  counts().clear();
}

void count_fallback(const std::string& reason) {
  const std::lock_guard lock(mutex);
  ++counts()[reason];
}

}  // namespace engine
