#include "kernels/emulator/race/clock.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "kernels/emulator/block.h"
#include "kernels/emulator/race/launch_number.h"
#include "kernels/emulator/race/ordered.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/scheduler.h"

namespace engine::kernels::emulator::race {
namespace {

struct Published {
  uint32_t block;
  std::shared_ptr<const VectorClock> known;
};
// By address of the atomic. The race build runs one block at a time.
std::unordered_map<const void*, std::vector<Published>> published_through;

uint32_t at(const VectorClock& clock, size_t actor) {
  return actor < clock.size() ? clock[actor] : 0;
}

void raise(VectorClock& clock, size_t actor, uint32_t time) {
  if (clock.size() <= actor) clock.resize(actor + 1);
  clock[actor] = std::max(clock[actor], time);
}

// The latest time of thread `actor` that is past for `thread`.
uint32_t known_time(const BlockClock& block, const Thread& thread, size_t actor) {
  if (actor == static_cast<size_t>(thread.index)) return thread.clock->now;
  const uint32_t base = block.base[actor];
  return std::max(base == 0 ? 0 : base - 1, at(thread.clock->known, actor));
}

}  // namespace

uint32_t launch_number = 0;

void begin_launch() {
  ++launch_number;
  published_through.clear();
}

void begin_block(Block& block) {
  if (!block.clock) block.clock = std::make_unique<BlockClock>();
  BlockClock& clock = *block.clock;
  clock.threads.resize(block.threads.size());
  clock.base.assign(block.threads.size(), 0);
  clock.agents = 0;
  clock.published.clear();
  clock.acquisitions.clear();
  for (Thread& t : block.threads) {
    t.clock = &clock.threads[static_cast<size_t>(t.index)];
    t.clock->now = 1;
    t.clock->proxy_fence = 0;
    t.clock->known.clear();
    t.clock->guarded.clear();
  }
}

bool ordered(const Block& block, Stamp stamp, const Thread& thread) {
  return is_ordered(block, stamp, thread);
}

Stamp now(const Thread& thread) {
  return {thread.clock->now, static_cast<uint16_t>(thread.index)};
}

void join(VectorClock& into, const VectorClock& from) {
  if (into.size() < from.size()) into.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
}

void release(Thread& thread, VectorClock& clock) {
  ThreadClock& own = *thread.clock;
  raise(own.known, static_cast<size_t>(thread.index), own.now);
  join(clock, own.known);
  ++own.now;
}

void acquire(Thread& thread, const VectorClock& clock) {
  join(thread.clock->known, clock);
}

void synchronize(Block& block) {
  BlockClock& clock = *block.clock;
  const size_t n = clock.threads.size();
  for (size_t i = 0; i < n; ++i) clock.base[i] = ++clock.threads[i].now;
  for (size_t agent = n; agent < n + static_cast<size_t>(clock.agents); ++agent) {
    uint32_t time = 0;
    for (const ThreadClock& thread : clock.threads) time = std::max(time, at(thread.known, agent));
    if (time == 0) continue;
    for (ThreadClock& thread : clock.threads) raise(thread.known, agent, time);
  }
}

void synchronize(const std::vector<Thread*>& threads, const VectorClock& others) {
  VectorClock all = others;
  for (Thread* thread : threads) release(*thread, all);
  for (Thread* thread : threads) acquire(*thread, all);
}

void synchronize(Thread* const* threads, int count) {
  static VectorClock all;  // keeps its memory
  all.clear();
  for (int i = 0; i < count; ++i) release(*threads[i], all);
  for (int i = 0; i < count; ++i) acquire(*threads[i], all);
}

int new_agent(Block& block, Site site) {
  if (block.clock->agents == kMaxAgents) {
    report(Check::misuse, site, "the emulator follows at most %d mbarriers and other asynchronous units of a block",
           kMaxAgents);
    abandon_block();
  }
  return block.clock->agents++;
}

void acquire_agent(Thread& thread, int agent, uint32_t time) {
  raise(thread.clock->known, agent_stamp(thread.block(), agent, time).actor, time);
}

void release_agent(const Block& block, VectorClock& clock, int agent, uint32_t time) {
  raise(clock, agent_stamp(block, agent, time).actor, time);
}

Stamp agent_stamp(const Block& block, int agent, uint32_t time) {
  return {time, static_cast<uint16_t>(block.num_threads + agent)};
}

void proxy_fence(Thread& thread) {
  thread.clock->proxy_fence = thread.clock->now++;
}

void thread_fence(Thread& thread) {
  BlockClock& clock = *thread.block().clock;
  clock.published.resize(clock.threads.size());
  for (size_t i = 0; i < clock.published.size(); ++i)
    clock.published[i] = std::max(clock.published[i], known_time(clock, thread, i));
  ++thread.clock->now;
}

void exchange_through(const void* address, Thread& thread) {
  Block& block = thread.block();
  BlockClock& clock = *block.clock;
  std::vector<Published>& all = published_through[address];
  for (const Published& other : all)
    if (other.block != block.number) clock.acquisitions.push_back({other.block, other.known, now(thread)});
  if (clock.published.empty()) return;
  auto known = std::make_shared<VectorClock>(clock.published.size());
  for (size_t i = 0; i < known->size(); ++i) (*known)[i] = std::min(clock.published[i], known_time(clock, thread, i));
  all.push_back({block.number, std::move(known)});
  ++thread.clock->now;
}

bool ordered_across(uint32_t other_block, Stamp stamp, const Thread& thread) {
  for (const Acquisition& learned : thread.block().clock->acquisitions) {
    if (learned.block == other_block && at(*learned.known, stamp.actor) >= stamp.time &&
        ordered(thread.block(), learned.when, thread))
      return true;
  }
  return false;
}

}  // namespace engine::kernels::emulator::race
