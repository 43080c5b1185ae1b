#include "engine/io/tensorboard.h"

#include <fmt/format.h>
#include <protozero/pbf_writer.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "engine/io/crc32c.h"

namespace engine {
namespace {

constexpr std::size_t kFlushBytes = std::size_t{64} << 10;

// Field numbers of tensorflow/core/util/event.proto and framework/summary.proto.
enum EventField : protozero::pbf_tag_type { kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7 };
enum SummaryField : protozero::pbf_tag_type { kValue = 1 };
enum ValueField : protozero::pbf_tag_type { kTag = 1, kSimpleValue = 2 };
enum SessionLogField : protozero::pbf_tag_type { kStatus = 1 };
constexpr int kSessionStart = 1;

constexpr std::string_view kPrefix = "events.out.tfevents.";

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The second in the file's name: now, or one after the latest file there is.
long long file_second(const std::filesystem::path& dir, FileOps& ops) {
  long long second = static_cast<long long>(now());
  std::vector<std::string> names;
  if (ops.list(dir, names) != 0) return second;
  for (const std::string& name : names)
    if (name.starts_with(kPrefix)) second = std::max(second, std::atoll(name.c_str() + kPrefix.size()) + 1);
  return second;
}

std::filesystem::path new_event_file(const std::filesystem::path& dir, FileOps& ops) {
  std::error_code ignored;  // the failure to open the file tells what is wrong
  std::filesystem::create_directories(dir, ignored);
  char host[256] = {};
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return dir /
         fmt::format("{}{:010d}.{}.{}.0", kPrefix, file_second(dir, ops), host[0] ? host : "localhost", ::getpid());
}

void append_little_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

std::uint32_t masked_crc_of(std::string_view text) {
  return masked_crc32c(crc32c(std::as_bytes(std::span(text))));
}

}  // namespace

EventWriter::EventWriter(const std::filesystem::path& dir, EventWriterOptions options, FileOps& ops)
    : path_(new_event_file(dir, ops)), file_(path_, std::move(options.on_failure), ops) {
  std::string version;
  protozero::pbf_writer version_event(version);
  version_event.add_double(kWallTime, now());
  version_event.add_string(kFileVersion, "brain.Event:2");
  record(version);
  // In a new run too: TensorBoard takes the first START of a run for its beginning and only later ones for restarts.
  std::string start;
  protozero::pbf_writer start_event(start);
  start_event.add_double(kWallTime, now());
  start_event.add_int64(kStep, options.first_step);
  {
    protozero::pbf_writer session(start_event, kSessionLog);
    session.add_enum(kStatus, kSessionStart);
  }
  record(start);
  flush();
}

EventWriter::~EventWriter() {
  flush();
}

void EventWriter::scalar(std::string_view tag, std::int64_t step, double value) {
  scalar(tag, step, value, now());
}

void EventWriter::scalar(std::string_view tag, std::int64_t step, double value, double wall_time) {
  std::string event;
  protozero::pbf_writer writer(event);
  writer.add_double(kWallTime, wall_time);
  writer.add_int64(kStep, step);
  {
    protozero::pbf_writer summary(writer, kSummary);
    protozero::pbf_writer entry(summary, kValue);
    entry.add_string(kTag, tag.data(), tag.size());
    entry.add_float(kSimpleValue, static_cast<float>(value));
  }
  record(event);
  if (pending_.size() >= kFlushBytes) flush();
}

void EventWriter::record(const std::string& event) {
  std::string length;
  append_little_endian(length, event.size(), 8);
  pending_ += length;
  append_little_endian(pending_, masked_crc_of(length), 4);
  pending_ += event;
  append_little_endian(pending_, masked_crc_of(event), 4);
}

void EventWriter::flush() {
  if (pending_.empty()) return;
  file_.append(std::as_bytes(std::span(pending_)));
  pending_.clear();
}

}  // namespace engine
