// The shadow of device memory: for each word who wrote it last and two that read it, since the launch began, and which
// bytes are initialised.
#include "kernels/emulator/race/global_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "kernels/emulator/block.h"
#include "kernels/emulator/race/launch_number.h"
#include "kernels/emulator/race/ordered.h"
#include "kernels/emulator/race/words.h"
#include "kernels/emulator/report.h"

namespace engine::kernels::emulator::race {
namespace {

constexpr size_t kGranule = 256;  // allocations begin at a multiple, with one granule of nobody between
constexpr size_t kPage = 4096;

struct Record {
  uint32_t block = 0;
  uint32_t time = 0;
  Origin origin;
  uint16_t thread = 0;
  uint8_t mask = 0;  // bytes; 0: no record
  bool atomic = false;
};

struct Cell {
  uint32_t launch = 0;  // the records are of this launch
  uint8_t initialised = 0;
  Record writer, reader, other_reader;
};

struct Allocation {
  size_t begin = 0, bytes = 0;
  bool live = false;
};

char* reserve(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory != MAP_FAILED) return static_cast<char*>(memory);
  std::fprintf(stderr,
               "emulator: the race build needs %zu GiB of address space, which the system refuses (ulimit -v?)\n",
               bytes >> 30);
  std::abort();
}

struct Range {
  char* memory = nullptr;
  Cell* cells = nullptr;
  size_t end = kGranule;
  std::vector<Allocation> allocations{Allocation{}};  // 0: nobody's
  std::vector<uint32_t> owner{0};                     // allocation by granule
};
// Never destroyed, and without the check of a static variable in a function: every access comes here.
Range& range = *new Range;

size_t offset_of(const void* address) {
  return static_cast<size_t>(static_cast<const char*>(address) - range.memory);
}

const Allocation& allocation_at(size_t offset) {
  const size_t granule = offset / kGranule;
  return range.allocations[granule < range.owner.size() ? range.owner[granule] : 0];
}

// What lies at an address that is not valid, in words.
std::string surroundings(size_t offset) {
  const Allocation* before = &allocation_at(offset);
  if (before->bytes == 0 && offset >= kGranule) before = &allocation_at(offset - kGranule);
  if (before->bytes == 0) return "outside of every allocation";
  if (!before->live) return "in an allocation of " + std::to_string(before->bytes) + " bytes that was freed";
  const size_t end = before->begin + before->bytes;
  if (offset >= end)
    return std::to_string(offset - end) + " bytes past the end of an allocation of " + std::to_string(before->bytes) +
           " bytes";
  return "across the end of an allocation of " + std::to_string(before->bytes) + " bytes";
}

bool within_allocation(size_t offset, size_t bytes) {
  const Allocation& a = allocation_at(offset);
  return a.live && offset + bytes <= a.begin + a.bytes;
}

[[gnu::noinline]] void report_bounds(size_t offset, size_t bytes, const char* what, Origin origin) {
  report(Check::bounds, origin, "%s of %zu bytes %s", what, bytes, surroundings(offset).c_str());
}

bool check_bounds(size_t offset, size_t bytes, const char* what, Origin origin) {
  if (within_allocation(offset, bytes)) return true;
  report_bounds(offset, bytes, what, origin);
  return false;
}

const char* verb(Access kind) {
  return kind == Access::read ? "read" : kind == Access::write ? "write" : "atomic operation";
}

inline bool conflicts(const Record& record, unsigned mask, bool atomic, const Thread& thread) {
  if ((record.mask & mask) == 0 || (record.atomic && atomic)) return false;
  const Stamp stamp{record.time, record.thread};
  if (record.block == thread.block().number) return !is_ordered(thread.block(), stamp, thread);
  return !ordered_across(record.block, stamp, thread);
}

[[gnu::noinline]] void report_race(Record& other, bool other_wrote, Access kind, Origin origin) {
  char who[64];
  std::snprintf(who, sizeof who, "thread %u of block number %u", other.thread, other.block);
  report_pair(Check::race, origin, other.origin, who, "%s of global memory that nothing orders with a %s", verb(kind),
              other_wrote ? "write" : "read");
  other.mask = 0;
}

inline void check_races(Cell& cell, unsigned mask, const Thread& thread, Access kind, Origin origin) {
  const bool atomic = kind == Access::atomic;
  if (conflicts(cell.writer, mask, atomic, thread)) {
    report_race(cell.writer, true, kind, origin);
  } else if (kind != Access::read) {
    if (conflicts(cell.reader, mask, atomic, thread))
      report_race(cell.reader, false, kind, origin);
    else if (conflicts(cell.other_reader, mask, atomic, thread))
      report_race(cell.other_reader, false, kind, origin);
  }
}

inline void remember(Cell& cell, unsigned mask, const Thread& thread, Access kind, Origin origin) {
  const uint32_t block = thread.block().number;
  Record me{block,
            thread.clock->now,
            origin,
            static_cast<uint16_t>(thread.index),
            static_cast<uint8_t>(mask),
            kind == Access::atomic};
  if (kind != Access::read) {
    const Record& last = cell.writer;
    if (last.block == block && last.thread == me.thread && last.time == me.time && last.atomic == me.atomic)
      me.mask |= last.mask;
    cell.writer = me;
    cell.initialised |= static_cast<uint8_t>(mask);
    return;
  }
  // Of two readers one is of another block, if there was one.
  const Record& last = cell.reader;
  const bool keep = last.mask != 0 &&
                    (last.block != block ||
                     (last.thread != me.thread && (cell.other_reader.mask == 0 || cell.other_reader.block == block)));
  if (keep) cell.other_reader = last;
  cell.reader = me;
}

}  // namespace

uintptr_t global_begin = uintptr_t{1} << 63;

void* allocate_global(size_t bytes) {
  Range& r = range;
  if (r.memory == nullptr) {
    r.memory = reserve(kGlobalBytes);
    r.cells = reinterpret_cast<Cell*>(reserve(kGlobalBytes / 4 * sizeof(Cell)));
    global_begin = reinterpret_cast<uintptr_t>(r.memory);
  }
  const size_t begin = r.end;
  const size_t end = (begin + bytes + kGranule - 1) / kGranule * kGranule + kGranule;
  if (end > kGlobalBytes) return nullptr;
  r.end = end;
  r.owner.resize(end / kGranule, 0);
  std::fill(r.owner.begin() + static_cast<ptrdiff_t>(begin / kGranule),
            r.owner.begin() + static_cast<ptrdiff_t>((begin + bytes + kGranule - 1) / kGranule),
            static_cast<uint32_t>(r.allocations.size()));
  r.allocations.push_back({begin, bytes, true});
  return r.memory + begin;
}

void release_global(void* address, size_t bytes) {
  Range& r = range;
  const size_t offset = offset_of(address);
  r.allocations[r.owner[offset / kGranule]].live = false;
  // Nobody reads it again: hand whole pages back.
  const auto discard = [](char* begin, char* end) {
    begin = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(begin) + kPage - 1) / kPage * kPage);
    end = reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(end) / kPage * kPage);
    if (begin < end) madvise(begin, static_cast<size_t>(end - begin), MADV_DONTNEED);
  };
  discard(r.memory + offset, r.memory + offset + bytes);
  discard(reinterpret_cast<char*>(r.cells + offset / 4), reinterpret_cast<char*>(r.cells + (offset + bytes) / 4));
}

void global_access(Thread& thread, const char* address, size_t bytes, Access kind, Origin origin) {
  const size_t offset = offset_of(address);
  if (!check_bounds(offset, bytes, verb(kind), origin)) return;
  if (kind == Access::atomic) exchange_through(address, thread);
  const uint32_t launch = launch_number;
  Cell* cells = range.cells;
  for_each_word(offset, bytes, [&](size_t word, unsigned mask) {
    Cell& cell = cells[word];
    if (cell.launch != launch) {
      cell.launch = launch;
      cell.writer.mask = cell.reader.mask = cell.other_reader.mask = 0;
    }
    if (kind != Access::write && (mask & ~cell.initialised) != 0) {
      const Allocation& a = allocation_at(word * 4);
      report(Check::uninitialised, origin,
             "%s of global memory that nobody has written: byte %zu of an allocation of %zu", verb(kind),
             word * 4 - a.begin, a.bytes);
      cell.initialised |= static_cast<uint8_t>(mask);
    }
    check_races(cell, mask, thread, kind, origin);
    remember(cell, mask, thread, kind, origin);
  });
}

void host_write(const void* address, size_t bytes) {
  if (!in_global_memory(address)) return;
  const size_t offset = offset_of(address);
  if (!check_bounds(offset, bytes, "write by the host", {})) return;
  Cell* cells = range.cells;
  for_each_word(offset, bytes,
                [&](size_t word, unsigned mask) { cells[word].initialised |= static_cast<uint8_t>(mask); });
}

void host_read(const void* address, size_t bytes) {
  if (in_global_memory(address)) check_bounds(offset_of(address), bytes, "read by the host", {});
}

void host_copy(const void* to, const void* from, size_t bytes) {
  host_read(from, bytes);
  if (!in_global_memory(to) || !in_global_memory(from)) return host_write(to, bytes);
  const size_t source = offset_of(from), target = offset_of(to);
  if (!check_bounds(target, bytes, "write by the host", {})) return;
  if ((source | target | bytes) % 4 != 0) return host_write(to, bytes);
  Cell* cells = range.cells;
  for (size_t i = 0; i < bytes / 4; ++i) cells[target / 4 + i].initialised = cells[source / 4 + i].initialised;
}

}  // namespace engine::kernels::emulator::race
