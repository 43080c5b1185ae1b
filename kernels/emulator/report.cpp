#include "kernels/emulator/report.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "kernels/emulator/block.h"
#include "kernels/emulator/settings.h"

namespace engine::kernels::emulator {
namespace {

constexpr size_t kMaxKept = 64;

struct Record {
  Finding finding;
  const char* format;
  Origin here, other;
};

struct Reports {
  std::mutex mutex;
  std::vector<Record> records;
  std::atomic<int64_t> count{0};
};
Reports& reports() {
  static Reports instance;
  return instance;
}

std::string formatted(const char* format, va_list arguments) {
  char buffer[2048];
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  return buffer;
}

std::string context() {
  if (current == nullptr) return "";
  const Block& block = self().block();
  char buffer[128];
  std::snprintf(buffer, sizeof buffer, " [block (%u,%u,%u), thread %d]", block.index.x, block.index.y, block.index.z,
                self().index);
  return buffer;
}

// Finding the lines of a place takes a child process: once for each kind and place, and only if it is kept.
void add(Check check, Origin here, Origin other, const char* who, const char* format, va_list arguments) {
  Reports& all = reports();
  all.count.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(all.mutex);
  for (Record& record : all.records) {
    if (record.finding.check == check && record.format == format && record.here == here && record.other == other) {
      ++record.finding.count;
      return;
    }
  }
  if (all.records.size() == kMaxKept) return;
  std::string text = name_of(check) + std::string(": ") + formatted(format, arguments);
  if (here.known()) text += " at " + here.text();
  if (who != nullptr) text += std::string("; the other access, by ") + who + ", at " + other.text();
  text += context();
  if (!settings().quiet) std::fprintf(stderr, "emulator: %s\n", text.c_str());
  all.records.push_back({{check, std::move(text)}, format, here, other});
  if (settings().halt) std::abort();
}

}  // namespace

const char* name_of(Check check) {
  switch (check) {
    case Check::race:
      return "race";
    case Check::uninitialised:
      return "uninitialised";
    case Check::bounds:
      return "bounds";
    case Check::alignment:
      return "alignment";
    case Check::divergence:
      return "divergence";
    case Check::fence:
      return "fence";
    case Check::pending:
      return "pending";
    case Check::deadlock:
      return "deadlock";
    case Check::misuse:
      return "misuse";
  }
  return "?";
}

std::vector<Finding> findings() {
  Reports& all = reports();
  const std::lock_guard lock(all.mutex);
  std::vector<Finding> result;
  for (const Record& record : all.records) result.push_back(record.finding);
  return result;
}

int64_t finding_count() {
  return reports().count.load(std::memory_order_relaxed);
}

void clear_findings() {
  Reports& all = reports();
  const std::lock_guard lock(all.mutex);
  all.records.clear();
  all.count = 0;
}

void report(Check check, Origin here, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  add(check, here, {}, nullptr, format, arguments);
  va_end(arguments);
}

void report_pair(Check check, Origin here, Origin other, const char* who, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  add(check, here, other, who, format, arguments);
  va_end(arguments);
}

}  // namespace engine::kernels::emulator
