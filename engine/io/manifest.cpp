#include "engine/io/manifest.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace engine {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "engine-checkpoint";
constexpr const char* kSum = "xxh3_128";

std::string sum_of(const json& object) {
  const std::string text = object.dump();
  return xxh3_128_hex(std::as_bytes(std::span(text)));
}

template <class... Parts>
[[noreturn]] void refuse(const std::string& origin, const Parts&... parts) {
  fail(ErrorKind::checkpoint, "manifest ", origin, ": ", parts...);
}

bool is_plain_name(const std::string& name) {
  return !name.empty() && name.front() != '.' && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
}

std::uint64_t unsigned_member(const json& object, const char* key, const std::string& origin) {
  const auto at = object.find(key);
  if (at == object.end() || !at->is_number_unsigned()) refuse(origin, "\"", key, "\" is not a non-negative integer");
  return at->get<std::uint64_t>();
}

std::string string_member(const json& object, const char* key, const std::string& origin) {
  const auto at = object.find(key);
  if (at == object.end() || !at->is_string()) refuse(origin, "\"", key, "\" is not a string");
  return at->get<std::string>();
}

}  // namespace

std::string manifest_json(const Manifest& manifest) {
  json files = json::object();
  for (const auto& [name, digest] : manifest.files) files[name] = {{"bytes", digest.bytes}, {kSum, digest.xxh3_128}};
  json object = {
      {"format", kFormat}, {"version", kManifestVersion}, {"step", manifest.step}, {"files", std::move(files)}};
  object[kSum] = sum_of(object);
  return object.dump(2) + "\n";
}

Manifest parse_manifest(std::string_view text, const std::string& origin) {
  json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) refuse(origin, "it is not a JSON object; the file is damaged");
  if (string_member(object, "format", origin) != kFormat)
    refuse(origin, "\"format\" is not \"", kFormat, "\"; this is not a checkpoint of this program");
  const std::uint64_t version = unsigned_member(object, "version", origin);
  const std::string sum = string_member(object, kSum, origin);
  object.erase(kSum);
  if (sum != sum_of(object)) refuse(origin, "its own checksum does not match; the file is damaged");
  if (version != kManifestVersion)
    refuse(origin, "the checkpoint has format version ", version, ", this program reads version ", kManifestVersion,
           "; use the program that wrote it");

  Manifest manifest;
  manifest.step = static_cast<std::int64_t>(unsigned_member(object, "step", origin));
  if (manifest.step < 0) refuse(origin, "\"step\" is beyond 63 bits");
  const auto files = object.find("files");
  if (files == object.end() || !files->is_object()) refuse(origin, "\"files\" is not an object");
  for (const auto& [name, entry] : files->items()) {
    if (!is_plain_name(name)) refuse(origin, "a listed file has a name that is not plain");
    if (!entry.is_object()) refuse(origin, "the entry of ", name, " is not an object");
    manifest.files[name] = {unsigned_member(entry, "bytes", origin), string_member(entry, kSum, origin)};
  }
  return manifest;
}

}  // namespace engine
