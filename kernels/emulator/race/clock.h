#pragma once
// Happens-before by vector clocks. Every thread of a block, and every asynchronous unit ("agent"), has its own time;
// a thread's clock holds the times of all others that it knows to be past. Private to kernels/emulator.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/emulator/origin.h"

namespace engine::kernels::emulator {
struct Block;
struct Thread;
}  // namespace engine::kernels::emulator

namespace engine::kernels::emulator::race {

#ifdef ENGINE_EMULATOR_RACE
inline constexpr bool kEnabled = true;
#else
inline constexpr bool kEnabled = false;  // nothing of this folder is linked: guard calls by `if constexpr (kEnabled)`
#endif

inline constexpr int kMaxAgents = 64;

// Known times, by actor: thread index, or number of threads + agent.
using VectorClock = std::vector<uint32_t>;

// A moment of one actor.
struct Stamp {
  uint32_t time = 0;
  uint16_t actor = 0;
};

struct ThreadClock {
  uint32_t now = 1;          // its own time; advances when others learn of what it did
  uint32_t proxy_fence = 0;  // its time at its last fence.proxy.async
  VectorClock known;
  // Registers that an asynchronous unit still writes.
  std::vector<std::pair<const char*, size_t>> guarded;
};

// What the block learned of another one: an atomic operation read what that one's wrote, which a __threadfence
// preceded.
struct Acquisition {
  uint32_t block;
  std::shared_ptr<const VectorClock> known;  // the other block's times that are past
  Stamp when;                                // by which thread of this block
};

struct BlockClock {
  std::vector<ThreadClock> threads;
  VectorClock base;  // times before these are past for all threads, since the last barrier of the whole block
  int agents = 0;
  VectorClock published;  // times that a __threadfence of somebody who knew them made visible to other blocks
  std::vector<Acquisition> acquisitions;
};

void begin_block(Block& block);

// __threadfence(): what the thread knows to be past is visible to other blocks that learn of it through an atomic.
void thread_fence(Thread& thread);

// A new launch: what blocks published is forgotten.
void begin_launch();
// An atomic operation on global memory: the thread learns what others published before theirs at this address, and
// publishes in turn.
void exchange_through(const void* address, Thread& thread);
// Has the moment of another block passed, for all that `thread` knows?
bool ordered_across(uint32_t other_block, Stamp stamp, const Thread& thread);

// Has the moment passed, for all that `thread` knows?
bool ordered(const Block& block, Stamp stamp, const Thread& thread);
// The current time of the thread.
Stamp now(const Thread& thread);

// `thread` publishes all it knows into `clock`, and its own past with it; acquire() learns from it.
void release(Thread& thread, VectorClock& clock);
void acquire(Thread& thread, const VectorClock& clock);
void join(VectorClock& into, const VectorClock& from);
// A barrier of all threads of the block, respectively of some; `others` arrived without waiting.
void synchronize(Block& block);
void synchronize(const std::vector<Thread*>& threads, const VectorClock& others);
void synchronize(Thread* const* threads, int count);

// A new agent of the block; kMaxAgents at most. Its times are what its owner counts, from 1.
int new_agent(Block& block, Site site);
// What the agent did until `time` is past for `thread`, or for whoever acquires `clock`.
void acquire_agent(Thread& thread, int agent, uint32_t time);
void release_agent(const Block& block, VectorClock& clock, int agent, uint32_t time);
Stamp agent_stamp(const Block& block, int agent, uint32_t time);

// fence.proxy.async: what the thread wrote is visible to asynchronous units.
void proxy_fence(Thread& thread);

}  // namespace engine::kernels::emulator::race
