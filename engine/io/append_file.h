#pragma once
// A log file whose loss must not end the work that it describes.
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "engine/io/file.h"

namespace engine {

// Receives one sentence, once, when a log file can no longer be written.
using LogFailure = std::function<void(const std::string& message)>;

// Appends records, each whole or not at all: what a failed write left behind is cut off again, so later records of a
// disk that recovers follow a sound tail. Failures go to `on_failure` once; records that could not be written are
// dropped and counted.
class AppendFile {
 public:
  // Creates the file if absent. Never throws for a file that cannot be opened: that is a failure like any later one.
  AppendFile(const std::filesystem::path& path, LogFailure on_failure, FileOps& ops = FileOps::real());

  bool append(std::span<const std::byte> record);
  // What was appended survives a power loss from now on.
  void sync();
  std::uint64_t dropped() const { return dropped_; }

 private:
  void report(const Error& error);

  std::filesystem::path path_;
  FileOps& ops_;
  LogFailure on_failure_;
  std::unique_ptr<OpenFile> file_;  // null once the tail cannot be trusted
  std::uint64_t good_bytes_ = 0;
  std::uint64_t dropped_ = 0;
  bool torn_ = false;
  bool entry_synced_ = false;  // of the directory
  bool reported_ = false;
};

}  // namespace engine
