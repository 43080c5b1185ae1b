#pragma once
// What the emulator found wrong. Findings are counted, the first ones of each kind and place are kept and printed.
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/emulator/origin.h"

namespace engine::kernels::emulator {

enum class Check : uint8_t {
  race,           // two accesses, at least one a write, that nothing orders
  uninitialised,  // memory read that was never written
  bounds,         // access outside of every allocation, or to freed memory
  alignment,
  divergence,  // threads that must meet at one operation are at different ones, or gone
  fence,       // a missing fence between the threads and an asynchronous unit
  pending,     // a thread or block ends although something asynchronous still runs for it
  deadlock,
  misuse  // anything else that the programming model forbids
};

const char* name_of(Check check);

struct Finding {
  Check check;
  std::string text;   // one sentence with the lines of the kernel's source
  int64_t count = 1;  // how often the same check failed at the same place
};

// Since the last clear_findings(). finding_count() counts repetitions.
std::vector<Finding> findings();
int64_t finding_count();
void clear_findings();

// Adds a finding at `here`, in the words of printf; the current thread and block are appended. Threads may run on.
void report(Check check, Origin here, const char* format, ...) __attribute__((format(printf, 3, 4)));

// The same for two places: "...; the other access, by `who`, at `other`".
void report_pair(Check check, Origin here, Origin other, const char* who, const char* format, ...)
    __attribute__((format(printf, 5, 6)));

}  // namespace engine::kernels::emulator
