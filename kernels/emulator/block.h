#pragma once
// A running block: its threads, warps, barriers and shared memory, and the units that work beside the threads.
// Private to kernels/emulator.
#include <array>
#include <bitset>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/emulator/cp_async_queue.h"
#include "kernels/emulator/race/clock.h"
#include "kernels/emulator/thread_view.h"

namespace engine::kernels::emulator {

struct Block;
struct WarpOperationKind;

// What a thread waits for, for the report of a deadlock.
struct Wait {
  const char* what = nullptr;
  Site site;
  unsigned argument = 0;
};

// One CUDA thread, which is one fiber.
struct Thread : ThreadView {
  Block& block() const;

  // The fiber; a thread that never blocked has none.
  void* stack_pointer = nullptr;
  int stack = -1;
  void* sanitizer_stack = nullptr;
  bool done = false;
  Wait wait;

  CopyQueue* copies = nullptr;         // cp.async
  race::ThreadClock* clock = nullptr;  // race build only
};

// The lanes that have come to one warp operation.
struct WarpOperation {
  unsigned mask = 0, arrived = 0;
  const WarpOperationKind* kind = nullptr;
  Site site;
  void* payload[32] = {};
  Thread* threads[32] = {};
};

struct Warp {
  unsigned exist = 0, exited = 0;           // lanes
  int busy = 0;                             // operations that lanes have come to
  std::array<WarpOperation, 4> operations;  // of disjoint masks
};

struct Barrier {
  int arrived = 0;
  Site site;
  int expected = 0;  // of a named barrier
  std::vector<Thread*> waiting;
  race::VectorClock clock;  // of those that arrived without waiting
};

// A unit that works beside the threads: TMA, the warpgroup tensor core. A block makes each of its units on first use.
class AsyncUnit {
 public:
  virtual ~AsyncUnit() = default;
  // Another block begins: forget the last one.
  virtual void begin(Block& block) = 0;
  // Completes one pending operation that needs no thread; false if there is none.
  virtual bool progress(Block& block) = 0;
  virtual void thread_exits(Thread&) {}
  // All threads are done: report what is still pending.
  virtual void end(Block&) {}
  // Lines for the report of a deadlock.
  virtual std::string state() const { return {}; }
};

inline constexpr size_t kSharedWindow = 256 * 1024;  // address range of shared memory, gaps included
inline constexpr size_t kMaxSharedBytes = 232448;    // what a block of sm_90 may have
inline constexpr int kMaxThreads = 1024;

struct Block : BlockView {
  int num_threads = 0;
  int live = 0;            // threads that have not exited
  uint32_t number = 0;     // in the grid, x fastest
  char* shared = nullptr;  // the window
  size_t dynamic_bytes = 0;
  size_t static_end = 0;
  std::vector<std::pair<const void*, size_t>> statics;  // key, offset

  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::array<Barrier, 16> barriers;
  std::vector<CopyQueue> copies;
  std::unique_ptr<race::BlockClock> clock;                                // race build only
  std::vector<std::pair<const void*, std::unique_ptr<AsyncUnit>>> units;  // with the key of their type

  // The block's unit of type T, which has a default constructor.
  template <class T>
  T& unit();
};

inline Block& Thread::block() const {
  return static_cast<Block&>(*block_view);
}

// The running thread.
inline Thread& self() {
  return static_cast<Thread&>(*current);
}

template <class T>
inline constexpr char kUnitKey = 0;

template <class T>
T& Block::unit() {
  for (const auto& [key, found] : units)
    if (key == &kUnitKey<T>) return static_cast<T&>(*found);
  units.emplace_back(&kUnitKey<T>, std::make_unique<T>());
  units.back().second->begin(*this);
  return static_cast<T&>(*units.back().second);
}

}  // namespace engine::kernels::emulator
