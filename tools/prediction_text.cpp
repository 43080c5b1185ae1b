#include "tools/prediction_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/text.h"

namespace engine::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kWidest = 60;
constexpr std::string_view kTitle = "picture";

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Characters, which are columns for most scripts.
size_t columns(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string padded(const std::string& text, size_t width) {
  return text + std::string(std::max(width, columns(text)) - columns(text), ' ');
}

}  // namespace

std::string prediction_json(const Prediction& prediction, const std::vector<std::string>& class_names) {
  Json top = Json::array();
  for (const ClassProbability& one : prediction.top) {
    top.push_back({{"class", class_names[static_cast<size_t>(one.label)]},
                   {"index", one.label},
                   {"probability", one.probability}});
  }
  Json json = {{"path", prediction.path}, {"predictions", top}};
  if (!prediction.heat_map.empty()) json["cam"] = prediction.heat_map;
  return dump(json);
}

std::string unreadable_json(const std::string& path, const std::string& message) {
  return dump({{"path", path}, {"error", message}});
}

size_t table_width(const std::vector<std::string>& paths) {
  size_t width = kTitle.size();
  for (const std::string& path : paths) width = std::max(width, columns(printable(path)));
  return std::min(width, kWidest);
}

std::string table_head(size_t width) {
  return padded(std::string(kTitle), width) + "  probability  class\n";
}

std::string table_lines(const Prediction& prediction, const std::vector<std::string>& class_names, size_t width) {
  std::string text, path = printable(prediction.path);
  for (const ClassProbability& one : prediction.top) {
    text += fmt::format("{}  {:>9.2f} %  {}\n", padded(path, width), 100 * one.probability,
                        printable(class_names[static_cast<size_t>(one.label)]));
    path.clear();
  }
  return text;
}

}  // namespace engine::tools
