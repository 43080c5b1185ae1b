#include "kernels/emulator/barrier.h"

#include <algorithm>
#include <cstring>

#include "kernels/emulator/barrier_state.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/scheduler.h"

namespace engine::kernels::emulator {
namespace {

bool same_place(const Site& a, const Site& b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

void complete(Block& block, Barrier& barrier) {
  if constexpr (race::kEnabled) {
    // Arrivals without waiting, or exited threads, make it a barrier of some.
    if (barrier.waiting.size() == block.threads.size()) {
      race::synchronize(block);
    } else {
      race::synchronize(barrier.waiting, barrier.clock);
    }
  }
  barrier.arrived = 0;
  barrier.clock.clear();
  const auto wake_one = [](Thread* thread) {
    if (thread != current) wake(*thread);
  };
  if (schedule() == Schedule::reverse) {
    std::for_each(barrier.waiting.rbegin(), barrier.waiting.rend(), wake_one);
  } else {
    std::for_each(barrier.waiting.begin(), barrier.waiting.end(), wake_one);
  }
  barrier.waiting.clear();
}

void check_count(const Barrier& barrier, int num_threads, const char* what, Site site) {
  if (num_threads % 32 != 0 || num_threads <= 0)
    report(Check::misuse, site, "%s of %d threads, which is not a multiple of a warp", what, num_threads);
  if (barrier.arrived != 0 && barrier.expected != num_threads)
    report_pair(Check::divergence, site, barrier.site, "another thread", "%s expects %d threads, others expect %d",
                what, num_threads, barrier.expected);
}

}  // namespace

void barrier_sync_all(Site site) {
  Thread& t = self();
  Block& block = t.block();
  Barrier& barrier = block.barriers[0];
  if (barrier.arrived != 0 && !same_place(barrier.site, site))
    report_pair(Check::divergence, site, barrier.site, "another thread",
                "threads of a block are in different __syncthreads");
  barrier.site = site;
  barrier.waiting.push_back(&t);
  if (++barrier.arrived == block.live) {
    complete(block, barrier);
  } else {
    sleep("__syncthreads", site);
  }
}

void barrier_sync(int id, int num_threads, Site site) {
  Thread& t = self();
  Barrier& barrier = t.block().barriers[static_cast<size_t>(id)];
  check_count(barrier, num_threads, "bar.sync", site);
  barrier.site = site;
  barrier.expected = num_threads;
  barrier.waiting.push_back(&t);
  if (++barrier.arrived == num_threads) {
    complete(t.block(), barrier);
  } else {
    sleep("bar.sync", site, static_cast<unsigned>(id));
  }
}

void barrier_arrive(int id, int num_threads, Site site) {
  Thread& t = self();
  Barrier& barrier = t.block().barriers[static_cast<size_t>(id)];
  check_count(barrier, num_threads, "bar.arrive", site);
  barrier.site = site;
  barrier.expected = num_threads;
  if constexpr (race::kEnabled) race::release(t, barrier.clock);
  if (++barrier.arrived == num_threads) complete(t.block(), barrier);
}

void leave_barriers(Thread& thread) {
  Block& block = thread.block();
  Barrier& all = block.barriers[0];
  if (all.arrived != 0 && all.arrived == block.live) complete(block, all);
}

}  // namespace engine::kernels::emulator
