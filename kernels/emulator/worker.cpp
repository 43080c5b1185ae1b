#include "kernels/emulator/worker.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/emulator/barrier_state.h"
#include "kernels/emulator/context.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/sanitizer.h"
#include "kernels/emulator/scheduler.h"
#include "kernels/emulator/shared_window.h"
#include "kernels/emulator/warp_operation.h"

namespace engine::kernels::emulator {

constinit thread_local ThreadView* current __attribute__((tls_model("initial-exec"))) = nullptr;

namespace {

thread_local std::unique_ptr<Worker> worker_of_this_thread;
// The same without the check for its construction, for fibers.
constinit thread_local Worker* running __attribute__((tls_model("initial-exec"))) = nullptr;

}  // namespace

void sleep(const char* what, Site site, unsigned argument) {
  running->sleep(what, site, argument);
}

void wake(Thread& thread) {
  running->wake(thread);
}

void wake(unsigned lanes, Thread* const* threads) {
  running->wake(lanes, threads);
}

void abandon_block() {
  running->abandon();
}

Schedule schedule() {
  return running->schedule();
}

std::mt19937_64& schedule_random() {
  return running->random();
}

Statistics& local_statistics() {
  return running->statistics;
}

Worker& Worker::here() {
  if (!worker_of_this_thread) {
    worker_of_this_thread.reset(new Worker);
    running = worker_of_this_thread.get();
  }
  return *worker_of_this_thread;
}

Worker::Worker() {
  block_.shared = static_cast<char*>(::operator new (kSharedWindow, std::align_val_t{1024}));
}

Worker::~Worker() {
  sanitizer::unpoison(block_.shared, kSharedWindow);
  ::operator delete (block_.shared, std::align_val_t{1024});
}

void Worker::begin_block(const Job& job, uint64_t number) {
  Block& b = block_;
  const auto n = static_cast<int>(job.block.x * job.block.y * job.block.z);
  b.index = {static_cast<unsigned>(number % job.grid.x), static_cast<unsigned>(number / job.grid.x % job.grid.y),
             static_cast<unsigned>(number / job.grid.x / job.grid.y)};
  b.size = job.block;
  b.grid = job.grid;
  b.number = static_cast<uint32_t>(number);
  b.num_threads = b.live = n;

  b.threads.resize(static_cast<size_t>(n));
  b.copies.resize(static_cast<size_t>(n));
  b.warps.resize(static_cast<size_t>(n + 31) / 32);
  for (Warp& warp : b.warps) {
    warp.exist = warp.exited = 0;
    warp.busy = 0;
    for (WarpOperation& operation : warp.operations) operation.arrived = 0;
  }
  for (Barrier& barrier : b.barriers) {
    barrier.arrived = 0;
    barrier.waiting.clear();
    barrier.clock.clear();
  }
  uint3 position{0, 0, 0};
  for (int i = 0; i < n; ++i) {
    Thread& t = b.threads[static_cast<size_t>(i)];
    t = Thread{};
    t.position = position;
    t.index = i;
    t.lane = i % 32;
    t.warp = i / 32;
    t.block_view = &b;
    t.copies = &b.copies[static_cast<size_t>(i)];
    t.copies->copies.clear();
    t.copies->group_ends.clear();
    b.warps[static_cast<size_t>(t.warp)].exist |= 1u << t.lane;
    if (++position.x == job.block.x) {
      position.x = 0;
      if (++position.y == job.block.y) {
        position.y = 0;
        ++position.z;
      }
    }
  }
  begin_shared_memory(b, job.dynamic_bytes);
  if constexpr (race::kEnabled) race::begin_block(b);
  for (const auto& [key, unit] : b.units) unit->begin(b);

  size_t capacity = 1;
  while (capacity <= static_cast<size_t>(n)) capacity *= 2;
  ready_.resize(capacity);
  ready_mask_ = capacity - 1;
  head_ = tail_ = 0;
  if (schedule_ == Schedule::reverse) {
    for (int i = n; i-- > 0;) wake(b.threads[static_cast<size_t>(i)]);
  } else {
    for (Thread& t : b.threads) wake(t);
  }
}

void Worker::wake(unsigned lanes, Thread* const* threads) {
  size_t tail = tail_;
  for (; lanes != 0; lanes &= lanes - 1) ready_[tail++ & ready_mask_] = threads[std::countr_zero(lanes)];
  tail_ = tail;
}

bool Worker::run(const Job& job, uint64_t number) {
  schedule_ = settings().schedule;
  async_ = settings().async;
  in_order_ = schedule_ != Schedule::random && async_ != Async::random;
  if (!in_order_) random_.seed(settings().seed + number);
  body_ = job.body;
  abandoned_ = false;
  begin_block(job, number);

  void* fake = nullptr;
  switch_to(*next_ready(), &launcher_, &fake);
  sanitizer::after_switch(fake, nullptr, nullptr);
  current = nullptr;
  stacks_.give_back_all();
  dead_stack_ = -1;
  if (!abandoned_) end_block();
  return !abandoned_;
}

void Worker::end_block() {
  for (const auto& [key, unit] : block_.units) unit->end(block_);
}

void Worker::exit_thread() {
  Thread& t = self();
  t.done = true;
  --block_.live;
  for (const auto& [key, unit] : block_.units) unit->thread_exits(t);
  leave_warp(t);
  leave_barriers(t);
}

bool Worker::progress() {
  const size_t n = block_.units.size();
  const size_t first = async_ == Async::random && n != 0 ? random_() % n : 0;
  for (size_t i = 0; i < n; ++i)
    if (block_.units[(first + i) % n].second->progress(block_)) return true;
  return false;
}

// The thread to run next; null when all are done. Each switch of fibers touches a stack that the cache may have lost,
// so the functions on the way to it are inlined: fewer frames.
inline Thread* Worker::next_ready() {
  return in_order_ && head_ != tail_ ? ready_[head_++ & ready_mask_] : choose_next();
}

Thread* Worker::choose_next() {
  for (;;) {
    if (head_ != tail_) {
      if (async_ == Async::random && random_() % 8 == 0) progress();
      if (schedule_ == Schedule::random) {
        const size_t pick = random_() % (tail_ - head_);
        std::swap(ready_[head_ & ready_mask_], ready_[(head_ + pick) & ready_mask_]);
      }
      return ready_[head_++ & ready_mask_];
    }
    if (block_.live == 0) return nullptr;
    if (!progress()) {
      report_deadlock();
      leave(true);
    }
  }
}

void Worker::report_deadlock() {
  current = nullptr;
  struct Group {
    Wait wait;
    int first = 0, count = 0;
  };
  std::vector<Group> groups;
  for (const Thread& t : block_.threads) {
    if (t.done) continue;
    const auto same = [&](const Group& g) {
      return g.wait.what == t.wait.what && g.wait.site.line == t.wait.site.line && g.wait.argument == t.wait.argument;
    };
    const auto found = std::find_if(groups.begin(), groups.end(), same);
    if (found != groups.end()) {
      ++found->count;
    } else {
      groups.push_back({t.wait, t.index, 1});
    }
  }
  std::string text;
  constexpr size_t kShown = 6;
  for (size_t i = 0; i < std::min(groups.size(), kShown); ++i) {
    const Group& g = groups[i];
    if (i > 0) text += ", ";
    text += "thread " + std::to_string(g.first);
    if (g.count > 1) text += " and " + std::to_string(g.count - 1) + " more";
    text += g.count > 1 ? " wait in " : " waits in ";
    text += std::string(g.wait.what) + " at " + Origin(g.wait.site).text();
  }
  for (const auto& [key, unit] : block_.units) {
    const std::string state = unit->state();
    if (!state.empty()) text += "; " + state;
  }
  report(Check::deadlock, groups.empty() ? Origin() : Origin(groups[0].wait.site),
         "none of the %d live threads of block (%u,%u,%u) can run: %s; the first waits", block_.live, block_.index.x,
         block_.index.y, block_.index.z, text.c_str());
}

void Worker::begin_fiber(Thread& thread) {
  thread.stack = stacks_.take();
  const Stacks::Stack& stack = stacks_[thread.stack];
  sanitizer::unpoison(stack.low, stack.bytes);
  thread.stack_pointer = new_fiber(stack.low, stack.bytes, &Worker::fiber_main);
}

inline void Worker::switch_to(Thread& next, void** save, void** fake) {
  ++statistics.switches;
  current = &next;
  if (next.stack_pointer == nullptr) begin_fiber(next);
  running_stack_ = next.stack;
  if constexpr (sanitizer::kEnabled) {
    const Stacks::Stack& stack = stacks_[next.stack];
    sanitizer::before_switch(fake, stack.low, stack.bytes);
  }
  switch_fiber(save, next.stack_pointer);
}

// First thing on a fiber that runs again.
inline void Worker::arrived(void* fake) {
  sanitizer::after_switch(fake, nullptr, nullptr);
  if (dead_stack_ >= 0) {
    stacks_.give_back(dead_stack_);
    dead_stack_ = -1;
  }
}

void Worker::sleep(const char* what, Site site, unsigned argument) {
  Thread& t = self();
  // One by one: built as a whole on the stack, they would be read back before the parts have been stored.
  t.wait.what = what;
  t.wait.site.file = site.file;
  t.wait.site.line = site.line;
  t.wait.argument = argument;
  Thread* next = next_ready();
  if (next == &t) {
    current = &t;
    return;
  }
  switch_to(*next, &t.stack_pointer, &t.sanitizer_stack);
  arrived(t.sanitizer_stack);
}

void Worker::fiber_main() {
  Worker& w = *running;
  const void* bottom = nullptr;
  size_t bytes = 0;
  sanitizer::after_switch(nullptr, &bottom, &bytes);
  if (w.launcher_bottom_ == nullptr) {  // the first switch of this worker came from the launcher
    w.launcher_bottom_ = bottom;
    w.launcher_bytes_ = bytes;
  }
  if (w.dead_stack_ >= 0) {
    w.stacks_.give_back(w.dead_stack_);
    w.dead_stack_ = -1;
  }
  for (;;) {
    (*w.body_)();
    w.exit_thread();
    Thread* next = w.next_ready();
    if (next == nullptr) w.leave(false);
    if (next->stack_pointer == nullptr) {
      // A thread that has not begun: it begins on this stack, which costs no switch.
      static char in_use;
      next->stack = w.running_stack_;
      next->stack_pointer = &in_use;
      current = next;
      continue;
    }
    w.dead_stack_ = w.running_stack_;
    w.switch_to(*next, &w.nowhere_, nullptr);
    std::abort();  // nobody switches back to a thread that ended
  }
}

void Worker::leave(bool abandoned) {
  abandoned_ = abandoned;
  current = nullptr;
  sanitizer::before_switch(nullptr, launcher_bottom_, launcher_bytes_);
  switch_fiber(&nowhere_, launcher_);
  std::abort();
}

}  // namespace engine::kernels::emulator
