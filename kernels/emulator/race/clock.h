#pragma once
// Happens-before by vector clocks. Every thread of a block, and every asynchronous unit ("agent"), has its own time;
// a thread's clock holds the times of all others that it knows to be past. Private to kernels/emulator.
#include <cstddef>
#include <cstdint>
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

struct BlockClock {
  std::vector<ThreadClock> threads;
  VectorClock base;  // times that all threads know, from the last barrier of the whole block
  int agents = 0;
};

void begin_block(Block& block);

// __threadfence(): what the thread knows to be past is visible to other blocks that learn of it through an atomic.
void thread_fence(Thread& thread);

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
