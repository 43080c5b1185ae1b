#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/text.h"
#include "engine/train/config.h"

namespace engine {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json value_json(const T& value) {
  return value;
}
template <class T>
Json value_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// The text that assign_setting() takes for a JSON value.
std::string setting_text(const Setting& setting, const Json& value, const std::string& origin) {
  const bool is_text = std::holds_alternative<std::string TrainConfig::*>(setting.member) ||
                       std::holds_alternative<std::optional<std::string> TrainConfig::*>(setting.member);
  const bool is_list = std::holds_alternative<std::vector<double> TrainConfig::*>(setting.member);
  const auto wrong_type = [&](const char* expected) {
    fail(ErrorKind::usage, origin, ": ", printable(value.dump()), " is not ", expected);
  };
  const auto number_text = [&](const Json& number) {
    if (!number.is_number()) wrong_type("a number");
    return number.is_number_float() ? fmt::format("{}", number.get<double>()) : number.dump();
  };
  if (is_switch(setting)) {
    if (!value.is_boolean()) wrong_type("true or false");
    return value.get<bool>() ? "true" : "false";
  }
  if (is_text) {
    if (!value.is_string()) wrong_type("a string");
    return value.get<std::string>();
  }
  if (is_list) {
    if (!value.is_array()) wrong_type("a list of numbers");
    std::vector<std::string> parts;
    for (const Json& part : value) parts.push_back(number_text(part));
    return fmt::format("{}", fmt::join(parts, ","));
  }
  return number_text(value);
}

const Setting& find_key(const std::string& key, const std::string& origin) {
  const Setting* setting = find_setting(key);
  if (!setting) {
    std::vector<std::string> keys;
    for (const Setting& known : settings()) keys.emplace_back(known.key);
    fail(ErrorKind::usage, "--config ", origin, ": unknown setting '", printable(key), "'; did you mean '",
         nearest(key, keys), "'?");
  }
  check(setting->scope == SettingScope::experiment, "--config ", origin, ": '", key,
        "' belongs to one start of the program; give it on the command line");
  return *setting;
}

}  // namespace

std::string config_json(const TrainConfig& config, SettingScope scope) {
  Json json = Json::object();
  for (const Setting& setting : settings()) {
    if (setting.scope != scope) continue;
    json[setting.key] = std::visit([&](auto member) { return value_json(config.*member); }, setting.member);
  }
  return json.dump();
}

void apply_config_json(TrainConfig& config, std::string_view text, const std::string& origin) {
  const std::string name = printable(origin);
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  check(json.is_object(), "--config ", name, ": not a JSON object of settings");
  if (json.contains("config") && json["config"].is_object()) {
    const Json inner = json["config"];
    json = inner;
  }
  for (const auto& [key, value] : json.items()) {
    const Setting& setting = find_key(key, name);
    const std::string where = fmt::format("--config {}: {}", name, key);
    const bool empty = value.is_null() || (value.is_string() && value.get<std::string>().empty()) ||
                       (value.is_array() && value.empty());
    if (empty) {
      copy_setting(config, setting, TrainConfig{});
    } else {
      assign_setting(config, setting, setting_text(setting, value, where), where);
    }
  }
}

}  // namespace engine
