#pragma once
// One process per run directory.
#include <filesystem>

#include "engine/io/file.h"

namespace engine {

// Holds `<run_dir>/.lock` from construction to destruction. Throws Error(usage) naming process and host of the holder
// when another one has it. The kernel releases the lock of a process that dies, so a stale file never blocks; on a file
// system without locks the recorded process id decides, as far as it is on this host.
class RunLock {
 public:
  explicit RunLock(const std::filesystem::path& run_dir);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  OpenFile file_;
};

}  // namespace engine
