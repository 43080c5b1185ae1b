#include "engine/plan_cache.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace engine {

std::string plans_to_json(const std::string& format, const PlanChoices& choices) {
  return nlohmann::json{{"format", format}, {"plans", choices}}.dump(1);
}

bool plans_from_json(const std::string& format, const std::string& json, PlanChoices& choices) {
  const auto parsed = nlohmann::json::parse(json, nullptr, false);
  try {
    if (parsed.at("format") != format) return false;
    choices = parsed.at("plans").get<PlanChoices>();
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

std::string plan_cache_file(const std::string& name) {
  std::filesystem::path folder;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache)
    folder = cache;
  else if (const char* home = std::getenv("HOME"); home && *home)
    folder = std::filesystem::path(home) / ".cache";
  else
    return {};
  return folder / "libengine" / ("plans-v1-" + name + ".json");
}

PlanChoices read_plan_cache(const std::string& file, const std::string& format) {
  std::ifstream stream(file);
  std::stringstream text;
  if (stream) text << stream.rdbuf();
  PlanChoices choices;
  (void)plans_from_json(format, text.str(), choices);
  return choices;
}

void write_plan_cache(const std::string& file, const std::string& format, const PlanChoices& choices) {
  if (file.empty()) return;
  const std::filesystem::path path = file, temporary = file + "." + std::to_string(getpid());
  std::error_code ignored;
  std::filesystem::create_directories(path.parent_path(), ignored);
  bool written = false;
  if (std::ofstream stream(temporary); stream) {
    stream << plans_to_json(format, choices) << '\n';
    stream.close();
    written = stream.good();
  }
  if (written)
    std::filesystem::rename(temporary, path, ignored);
  else
    std::filesystem::remove(temporary, ignored);
}

}  // namespace engine
