#include "engine/train/weights_info.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

using Json = nlohmann::json;

constexpr int kLargestSide = 8192;  // that --val-resize-size and --val-crop-size take, too

std::string to_text(const std::array<float, 3>& rgb) {
  return fmt::format("{},{},{}", rgb[0], rgb[1], rgb[2]);  // the shortest decimals that read back as the same floats
}

class Reader {
 public:
  Reader(const SafetensorsMetadata& metadata, const std::string& origin) : metadata_(metadata), origin_(origin) {}

  std::string text(const std::string& key) const {
    const auto found = metadata_.find("engine." + key);
    return found == metadata_.end() ? "" : found->second;
  }

  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const {
    fail(ErrorKind::checkpoint, origin_, ": its metadata have engine.", key, "=\"", printable(text(key).substr(0, 80)),
         "\", expected ", expected, "; it was changed, use the file that training wrote");
  }

  int side(const std::string& key, int minimum) const {
    const std::string value = text(key);
    int number = -1;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || number < minimum || number > kLargestSide)
      refuse(key, fmt::format("{} to {} pixels", minimum, kLargestSide));
    return number;
  }

  std::array<float, 3> rgb(const std::string& key, bool positive) const {
    const std::string value = text(key);
    std::array<float, 3> result{};
    const char* at = value.data();
    const char* const last = at + value.size();
    bool sound = true;
    for (size_t i = 0; sound && i < 3; ++i) {
      const auto [end, error] = std::from_chars(at, last, result[i]);
      sound = error == std::errc() && std::abs(result[i]) <= 1e6f && (!positive || result[i] > 0) &&
              (i == 2 ? end == last : end != last && *end == ',');
      at = end + (end != last ? 1 : 0);
    }
    if (!sound) refuse(key, positive ? "three positive numbers" : "three numbers");
    return result;
  }

  std::vector<std::string> names(const std::string& key) const {
    bool flat = true;  // a hundred million brackets are not to become as many arrays
    const auto at_top = [&flat](int depth, Json::parse_event_t event, Json&) {
      const bool opens = event == Json::parse_event_t::array_start || event == Json::parse_event_t::object_start;
      flat = flat && !(opens && depth > 0);
      return flat;
    };
    const Json json = Json::parse(text(key), at_top, /*allow_exceptions=*/false);
    if (!flat || !json.is_array()) refuse(key, "a JSON array of names");
    std::vector<std::string> result;
    for (const Json& name : json) {
      if (!name.is_string()) refuse(key, "a JSON array of names");
      result.push_back(name.get<std::string>());
    }
    return result;
  }

 private:
  const SafetensorsMetadata& metadata_;
  const std::string& origin_;
};

}  // namespace

SafetensorsMetadata to_metadata(const WeightsInfo& info) {
  SafetensorsMetadata metadata = default_safetensors_metadata();
  metadata["engine.model"] = info.model;
  metadata["engine.classes"] = Json(info.class_names).dump(-1, ' ', false, Json::error_handler_t::replace);
  metadata["engine.mean"] = to_text(info.normalization.mean);
  metadata["engine.std"] = to_text(info.normalization.std);
  metadata["engine.resize"] = std::to_string(info.transform.resize);
  metadata["engine.crop"] = std::to_string(info.transform.size);
  metadata["engine.interpolation"] = info.transform.interpolation == Interpolation::bicubic ? "bicubic" : "bilinear";
  return metadata;
}

WeightsInfo weights_info(const SafetensorsMetadata& metadata, const std::string& origin) {
  const Reader read(metadata, origin);
  const std::string interpolation = read.text("interpolation");
  if (read.text("model").empty()) return {};
  if (interpolation != "bilinear" && interpolation != "bicubic") read.refuse("interpolation", "bilinear or bicubic");
  return {.model = read.text("model"),
          .class_names = read.names("classes"),
          .transform = {.resize = read.side("resize", 0),
                        .size = read.side("crop", 1),
                        .interpolation = interpolation == "bicubic" ? Interpolation::bicubic : Interpolation::bilinear},
          .normalization = {.mean = read.rgb("mean", false), .std = read.rgb("std", true)}};
}

}  // namespace engine
