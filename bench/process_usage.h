#pragma once
// What the operating system knows about this process: memory, page faults, processor time.
#include <cstdint>

namespace engine::bench {

struct ProcessUsage {
  int64_t resident_bytes = 0;       // now
  int64_t peak_resident_bytes = 0;  // the most since the process began (VmHWM): libraries, code and heap included
  int64_t minor_faults = 0, major_faults = 0;
  double cpu_seconds = 0;  // user and system, all threads
};

// Since the process began. Memory is 0 where /proc does not offer it.
ProcessUsage process_usage();

}  // namespace engine::bench
