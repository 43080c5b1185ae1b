// The shadow of shared memory: for each word who wrote it last, the last two threads and the last asynchronous unit
// that read it, which bytes are initialised, and which an asynchronous copy is filling.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "kernels/emulator/block.h"
#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/race/ordered.h"
#include "kernels/emulator/race/words.h"
#include "kernels/emulator/report.h"

namespace engine::kernels::emulator::race {
namespace {

struct Record {
  uint32_t time = 0;
  uint16_t actor = 0;
  uint8_t mask = 0;  // bytes; 0: no record
  bool atomic : 1 = false;
  bool async_proxy : 1 = false;
  Origin origin;
  Stamp stamp() const { return {time, actor}; }
};

struct Cell {
  Record writer, reader, other_reader, async_reader;
  uint8_t exists = 0;       // bytes that belong to an array of the block
  uint8_t initialised = 0;  // bytes
  uint8_t filling = 0;      // bytes that an asynchronous copy will write
  Origin filler;
};

// Of the one block that runs; the race build has one worker.
std::vector<Cell> cells(kSharedWindow / 4);
size_t used_words = 0;

std::string who(const Block& block, uint16_t actor) {
  const bool thread = actor < block.num_threads;
  return (thread ? "thread " : "asynchronous unit ") + std::to_string(thread ? actor : actor - block.num_threads);
}

[[gnu::noinline]] void report_race(const char* what, const Thread& thread, size_t word, Origin here,
                                   const Record& other) {
  report_pair(Check::race, here, other.origin, who(thread.block(), other.actor).c_str(), "%s: shared memory + %zu",
              what, word * 4);
}

// After a report: one is enough.
void exists_now(Cell& cell, size_t word) {
  cell.exists = 15;
  used_words = std::max(used_words, word + 1);
}

// The block's bytes exist, and no asynchronous copy fills them.
inline bool usable(const Cell& cell, unsigned mask) {
  return (mask & ~cell.exists) == 0 && (cell.filling & mask) == 0;
}

[[gnu::noinline]] void report_unusable(Cell& cell, unsigned mask, size_t word, Origin origin, const char* who,
                                       const char* verb) {
  if ((mask & ~cell.exists) != 0) {
    report(Check::bounds, origin, "%s%s shared memory outside of the block's arrays: shared memory + %zu", who, verb,
           word * 4);
    exists_now(cell, word);
    return;
  }
  report_pair(Check::race, origin, cell.filler, "the copy",
              "%s%s shared memory that an asynchronous copy fills, before it was waited for: shared memory + %zu", who,
              verb, word * 4);
  cell.filling &= static_cast<uint8_t>(~mask);
  cell.initialised |= static_cast<uint8_t>(mask);
}

[[gnu::noinline]] void report_uninitialised(Cell& cell, unsigned mask, size_t word, Origin origin, const char* who,
                                            const char* verb) {
  report(Check::uninitialised, origin, "%s%s shared memory that nobody has written: shared memory + %zu", who, verb,
         word * 4);
  cell.initialised |= static_cast<uint8_t>(mask);
}

inline void read(Cell& cell, unsigned mask, const Thread& thread, size_t word, Origin origin) {
  const Block& block = thread.block();
  if ((mask & ~cell.initialised) != 0) report_uninitialised(cell, mask, word, origin, "", "read of");
  if ((cell.writer.mask & mask) != 0 && !is_ordered(block, cell.writer.stamp(), thread))
    report_race("read after a write that nothing orders before it", thread, word, origin, cell.writer);
  if (cell.reader.mask != 0 && cell.reader.actor != thread.index) cell.other_reader = cell.reader;
  cell.reader = {
      thread.clock->now, static_cast<uint16_t>(thread.index), static_cast<uint8_t>(mask), false, false, origin};
}

inline void write(Cell& cell, unsigned mask, const Thread& thread, size_t word, Origin origin, bool atomic) {
  const Block& block = thread.block();
  const auto conflicts = [&](const Record& r) {
    return (r.mask & mask) != 0 && !(atomic && r.atomic) && !is_ordered(block, r.stamp(), thread);
  };
  if (conflicts(cell.writer))
    report_race("two writes that nothing orders", thread, word, origin, cell.writer);
  else if (conflicts(cell.reader))
    report_race("write while another thread may still read", thread, word, origin, cell.reader);
  else if (conflicts(cell.other_reader))
    report_race("write while another thread may still read", thread, word, origin, cell.other_reader);
  else if (conflicts(cell.async_reader))
    report_race("write while wgmma or a bulk store may still read", thread, word, origin, cell.async_reader);

  const uint32_t time = thread.clock->now;
  const bool same = cell.writer.actor == thread.index && cell.writer.time == time && cell.writer.atomic == atomic;
  const auto bytes = static_cast<uint8_t>(same ? cell.writer.mask | mask : mask);
  cell.writer = {time, static_cast<uint16_t>(thread.index), bytes, atomic, false, origin};
  cell.initialised |= static_cast<uint8_t>(mask);
  cell.reader.mask = cell.other_reader.mask = 0;
}

}  // namespace

void begin_shared(Block& block, size_t offset, size_t bytes) {
  if (block.statics.empty()) {  // the dynamic array comes first
    std::fill_n(cells.begin(), used_words, Cell{});
    used_words = 0;
  }
  for_each_word(offset, bytes, [](size_t word, unsigned mask) { cells[word].exists |= static_cast<uint8_t>(mask); });
  used_words = std::max(used_words, (offset + bytes + 3) / 4);
}

void shared_access(Thread& thread, unsigned offset, unsigned bytes, Access kind, Origin origin) {
  for_each_word(offset, bytes, [&](size_t word, unsigned mask) {
    Cell& cell = cells[word];
    if (!usable(cell, mask))
      return report_unusable(cell, mask, word, origin, "", kind == Access::read ? "read of" : "write to");
    if (kind == Access::read) {
      read(cell, mask, thread, word, origin);
    } else {
      if (kind == Access::atomic && (mask & ~cell.initialised) != 0)
        report_uninitialised(cell, mask, word, origin, "", "atomic operation on");
      write(cell, mask, thread, word, origin, kind == Access::atomic);
    }
  });
}

void async_read(Thread& thread, unsigned offset, unsigned bytes, Stamp reader, Origin origin, const char* what,
                bool record) {
  const Block& block = thread.block();
  for_each_word(offset, bytes, [&](size_t word, unsigned mask) {
    Cell& cell = cells[word];
    if (!usable(cell, mask)) report_unusable(cell, mask, word, origin, what, " reads");
    if ((mask & ~cell.initialised) != 0) report_uninitialised(cell, mask, word, origin, what, " reads");
    Record& writer = cell.writer;
    if ((writer.mask & mask) != 0) {
      if (!is_ordered(block, writer.stamp(), thread)) {
        report_race("asynchronous read after a write that nothing orders before it", thread, word, origin, writer);
        writer.mask = 0;
      } else if (!writer.async_proxy && writer.actor < block.num_threads &&
                 block.clock->threads[writer.actor].proxy_fence < writer.time) {
        report_pair(Check::fence, origin, writer.origin, who(block, writer.actor).c_str(),
                    "no fence.proxy.async between a thread's write and %s reading it: shared memory + %zu", what,
                    word * 4);
        writer.mask = 0;
      }
    }
    if (record) cell.async_reader = {reader.time, reader.actor, static_cast<uint8_t>(mask), false, true, origin};
  });
}

void async_write_begin(Thread& thread, unsigned offset, unsigned bytes, Origin origin) {
  const Block& block = thread.block();
  for_each_word(offset, bytes, [&](size_t word, unsigned mask) {
    Cell& cell = cells[word];
    if ((mask & ~cell.exists) != 0) {
      report(Check::bounds, origin, "asynchronous copy outside of the block's shared memory: shared memory + %zu",
             word * 4);
      exists_now(cell, word);
    }
    if (cell.filling != 0)
      report_pair(Check::race, origin, cell.filler, "the other copy",
                  "two asynchronous copies into the same shared memory: shared memory + %zu", word * 4);
    const auto conflicts = [&](const Record& r) { return r.mask != 0 && !is_ordered(block, r.stamp(), thread); };
    if (conflicts(cell.writer))
      report_race("asynchronous copy over a write that nothing orders before it", thread, word, origin, cell.writer);
    else if (conflicts(cell.reader))
      report_race("asynchronous copy over what a thread may still read", thread, word, origin, cell.reader);
    else if (conflicts(cell.other_reader))
      report_race("asynchronous copy over what a thread may still read", thread, word, origin, cell.other_reader);
    else if (conflicts(cell.async_reader))
      report_race("asynchronous copy over what wgmma or a bulk store may still read", thread, word, origin,
                  cell.async_reader);
    cell.filling = 15;
    cell.filler = origin;
    cell.writer.mask = cell.reader.mask = cell.other_reader.mask = cell.async_reader.mask = 0;
  });
}

void async_write_end(Block&, unsigned offset, unsigned bytes, Stamp writer, bool async_proxy, Origin origin) {
  for_each_word(offset, bytes, [&](size_t word, unsigned mask) {
    Cell& cell = cells[word];
    cell.filling &= static_cast<uint8_t>(~mask);
    cell.initialised |= static_cast<uint8_t>(mask);
    cell.writer = {writer.time, writer.actor, static_cast<uint8_t>(mask), false, async_proxy, origin};
  });
}

}  // namespace engine::kernels::emulator::race
