#pragma once
// Runs blocks, one after the other, on one OS thread: the fibers of their threads, and who of them goes next. Private
// to kernels/emulator.
#include <functional>
#include <memory>
#include <random>

#include "kernels/emulator/block.h"
#include "kernels/emulator/settings.h"
#include "kernels/emulator/stacks.h"
#include "kernels/emulator/statistics.h"

namespace engine::kernels::emulator {

// What all blocks of a launch have in common.
struct Job {
  dim3 grid, block;
  size_t dynamic_bytes = 0;
  const std::function<void()>* body = nullptr;
};

class Worker {
 public:
  // Of the calling OS thread, made on first use.
  static Worker& here();
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // False if the block was abandoned.
  bool run(const Job& job, uint64_t number);

  void sleep(const char* what, Site site, unsigned argument);
  void wake(Thread& thread) { ready_[tail_++ & ready_mask_] = &thread; }
  void wake(unsigned lanes, Thread* const* threads);
  [[noreturn]] void abandon() { leave(true); }

  Schedule schedule() const { return schedule_; }
  std::mt19937_64& random() { return random_; }

  Statistics statistics;

 private:
  Worker();
  static void fiber_main();

  void begin_block(const Job& job, uint64_t number);
  void end_block();
  void exit_thread();
  Thread* next_ready();
  [[gnu::noinline]] Thread* choose_next();
  bool progress();
  void report_deadlock();
  void switch_to(Thread& next, void** save, void** fake);
  [[gnu::noinline]] void begin_fiber(Thread& thread);
  void arrived(void* fake);
  [[noreturn]] void leave(bool abandoned);

  Block block_;
  const std::function<void()>* body_ = nullptr;
  Schedule schedule_ = Schedule::forward;
  Async async_ = Async::lazy;
  bool in_order_ = true;  // nothing is chosen at random
  std::mt19937_64 random_;
  bool abandoned_ = false;

  std::vector<Thread*> ready_;  // a ring
  size_t head_ = 0, tail_ = 0, ready_mask_ = 0;

  Stacks stacks_;
  int running_stack_ = -1;
  int dead_stack_ = -1;       // of a thread that ended; free once another stack runs
  void* launcher_ = nullptr;  // the fiber that called run()
  const void* launcher_bottom_ = nullptr;
  size_t launcher_bytes_ = 0;
  void* nowhere_ = nullptr;
};

}  // namespace engine::kernels::emulator
