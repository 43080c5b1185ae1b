#pragma once
// Scalars for TensorBoard: an event file is a sequence of length-prefixed, CRC-32C protected tensorflow.Event messages.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "engine/io/append_file.h"

namespace engine {

struct EventWriterOptions {
  // When resuming: the first step that this process will run. TensorBoard then forgets what earlier files hold of this
  // and later steps, so an interrupted run shows one clean curve. 0 for a new run.
  std::int64_t first_step = 0;
  LogFailure on_failure = {};
};

// Writes one new file per process into `dir`, never appending to an old one: its tail may be torn, and TensorBoard
// gives up a file at the first bad length. The name sorts after those of earlier processes even if the clock went back,
// because that is the order in which TensorBoard reads. Disk failures go to `on_failure` once and never end the
// training.
class EventWriter {
 public:
  explicit EventWriter(const std::filesystem::path& dir, EventWriterOptions options = {},
                       FileOps& ops = FileOps::real());
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  // `value` is stored as a 32-bit float. Seen by TensorBoard after flush(); a full buffer flushes by itself.
  void scalar(std::string_view tag, std::int64_t step, double value);
  // With the time of the event, in seconds since 1970.
  void scalar(std::string_view tag, std::int64_t step, double value, double wall_time);
  void flush();

  const std::filesystem::path& path() const { return path_; }

 private:
  void record(const std::string& event);

  std::filesystem::path path_;
  AppendFile file_;
  std::string pending_;
};

}  // namespace engine
