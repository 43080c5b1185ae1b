#include "kernels/emulator/settings.h"

#include <cstdlib>
#include <string_view>

namespace engine::kernels::emulator {
namespace {

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

Settings from_environment() {
  Settings result;
  const std::string_view schedule = environment("ENGINE_EMULATOR_SCHEDULE");
  if (schedule == "reverse") result.schedule = Schedule::reverse;
  if (schedule.starts_with("random")) {
    result.schedule = Schedule::random;
    if (const size_t colon = schedule.find(':'); colon != schedule.npos)
      result.seed = std::strtoull(schedule.data() + colon + 1, nullptr, 0);
  }
  const std::string_view async = environment("ENGINE_EMULATOR_ASYNC");
  if (async == "eager") result.async = Async::eager;
  if (async == "random") result.async = Async::random;
  if (const std::string_view workers = environment("ENGINE_EMULATOR_THREADS"); !workers.empty())
    result.workers = std::atoi(workers.data());
  if (const std::string_view memory = environment("ENGINE_EMULATOR_MEMORY"); !memory.empty())
    result.memory = std::strtoull(memory.data(), nullptr, 0);
  if (const std::string_view lose = environment("ENGINE_EMULATOR_LOSE_AFTER"); !lose.empty())
    result.lose_after = std::atoll(lose.data());
  result.halt = environment("ENGINE_EMULATOR_HALT") == "1";
  return result;
}

}  // namespace

Settings& settings() {
  static Settings instance = from_environment();
  return instance;
}

}  // namespace engine::kernels::emulator
