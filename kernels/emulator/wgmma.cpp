// wgmma as its 128 threads see it: products in flight from the call until the wait for their group, the sums poisoned
// meanwhile.
#include "kernels/emulator/wgmma.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/scheduler.h"
#include "kernels/emulator/settings.h"
#include "kernels/emulator/statistics.h"
#include "kernels/emulator/warpgroup.h"

namespace engine::kernels::emulator {
namespace {

constexpr char kMultiply[] = "wgmma.mma_async";
constexpr char kWait[] = "wgmma.wait_group";

// Calls f(register, sum) for each sum that thread i of the warpgroup holds.
template <class F>
void for_each_sum(Sums& sums, size_t i, F&& f) {
  float* registers = sums.registers[i];
  const int thread = static_cast<int>(i), n = sums.columns;
  const int row = thread / 32 * 16 + thread % 32 / 4, column = 2 * (thread % 4);
  for (int j = 0; j < n / 8; ++j)
    for (int half = 0; half < 2; ++half)
      for (int e = 0; e < 2; ++e)
        f(registers[j * 4 + half * 2 + e], sums.values[static_cast<size_t>((row + 8 * half) * n + j * 8 + column + e)]);
}

// The sums that these registers hold, taken over from the threads if no product has them yet.
Sums& take(Warpgroup& warpgroup) {
  const auto& first = *static_cast<const WarpgroupProduct*>(warpgroup.payload[0]);
  for (const auto& sums : warpgroup.sums)
    if (sums->registers[0] == first.d) return *sums;
  Sums& sums = *warpgroup.sums.emplace_back(std::make_unique<Sums>());
  sums.columns = first.columns;
  sums.values.resize(static_cast<size_t>(64 * first.columns));
  for (size_t i = 0; i < kWarpgroup; ++i) {
    sums.registers[i] = static_cast<const WarpgroupProduct*>(warpgroup.payload[i])->d;
    for_each_sum(sums, i, [](float& held, float& sum) {
      sum = held;
      held = std::numeric_limits<float>::quiet_NaN();
    });
    if constexpr (race::kEnabled)
      race::guard(*warpgroup.threads[i], sums.registers[i], sizeof(float) * static_cast<size_t>(sums.columns / 2));
  }
  return sums;
}

void give_back(Warpgroup& warpgroup, Sums& sums) {
  for (size_t i = 0; i < kWarpgroup; ++i) {
    if constexpr (race::kEnabled) race::unguard(*warpgroup.threads[i], sums.registers[i]);
    for_each_sum(sums, i, [](float& held, float& sum) { held = sum; });
    warpgroup.fenced[i] = false;
  }
}

void finish(Warpgroup& warpgroup, PendingProduct& pending) {
  if (!pending.done) multiply(pending, warpgroup.threads[0]->block().shared);
  pending.done = true;
}

void check_a_kept(const Warpgroup& warpgroup, const PendingProduct& pending) {
  for (size_t i = 0; i < pending.at.size(); ++i) {
    if (std::memcmp(pending.at[i], pending.a.data() + 4 * i, 4 * sizeof(uint32_t)) == 0) continue;
    report(Check::race, warpgroup.site,
           "thread %d has changed the registers of wgmma's A before it waited for the product",
           warpgroup.threads[i]->index);
    return;
  }
}

void check_same(const Warpgroup& warpgroup) {
  const auto& first = *static_cast<const WarpgroupProduct*>(warpgroup.payload[0]);
  for (size_t i = 1; i < kWarpgroup; ++i) {
    const auto& other = *static_cast<const WarpgroupProduct*>(warpgroup.payload[i]);
    if (other.a == first.a && other.b == first.b && other.accumulate == first.accumulate &&
        warpgroup.groups[i] == warpgroup.groups[0])
      continue;
    report(Check::divergence, warpgroup.site,
           "threads %d and %d of a warpgroup call wgmma with different descriptors, scales or numbers of groups",
           warpgroup.threads[0]->index, warpgroup.threads[i]->index);
    return;
  }
}

// A swizzle counts from addresses that are multiples of 8 rows, unless the descriptor's base offset says otherwise.
void check_alignment(uint64_t descriptor, Site site) {
  const auto code = static_cast<unsigned>(descriptor >> 62);
  if (code == 0 || (descriptor >> 49 & 7u) != 0) return;
  const unsigned start = static_cast<unsigned>(descriptor & 0x3fff) * 16, pattern = 8 * (256u >> code);
  if (start % pattern >= 128)
    report(Check::alignment, site, "a wgmma operand at shared memory offset %u begins inside of its swizzle's %u bytes",
           start, pattern);
}

void start_product(Warpgroup& warpgroup) {
  check_same(warpgroup);
  PendingProduct pending;
  pending.product = *static_cast<const WarpgroupProduct*>(warpgroup.payload[0]);
  if (pending.product.a_registers == nullptr) {
    check_alignment(pending.product.a, warpgroup.site);
  } else {
    for (const void* payload : warpgroup.payload) {
      const uint32_t* registers = static_cast<const WarpgroupProduct*>(payload)->a_registers;
      pending.a.insert(pending.a.end(), registers, registers + 4);
      pending.at.push_back(registers);
    }
  }
  check_alignment(pending.product.b, warpgroup.site);
  pending.sums = &take(warpgroup);
  ++pending.sums->pending;
  pending.group = warpgroup.groups[0];
  pending.time = ++warpgroup.time;
  local_statistics().multiply_adds += int64_t{64} * 16 * pending.product.columns;
  if constexpr (race::kEnabled) {
    if (warpgroup.agent < 0) warpgroup.agent = race::new_agent(warpgroup.threads[0]->block(), warpgroup.site);
    access_operands(warpgroup, pending);
  }
  warpgroup.products.push_back(pending);
  const Async policy = settings().async;
  if (policy == Async::eager || (policy == Async::random && schedule_random()() % 2 == 0))
    for (PendingProduct& product : warpgroup.products) finish(warpgroup, product);
}

void finish_groups(Warpgroup& warpgroup) {
  const int pending_groups = *static_cast<const int*>(warpgroup.payload[0]);
  uint32_t finished = 0;
  while (!warpgroup.products.empty() && warpgroup.products.front().group < warpgroup.groups[0] - pending_groups) {
    PendingProduct& product = warpgroup.products.front();
    finish(warpgroup, product);
    check_a_kept(warpgroup, product);
    finished = product.time;
    --product.sums->pending;
    warpgroup.products.pop_front();
  }
  std::erase_if(warpgroup.sums, [&](const auto& sums) {
    if (sums->pending != 0) return false;
    give_back(warpgroup, *sums);
    return true;
  });
  if constexpr (race::kEnabled) {
    if (finished != 0)
      for (Thread* thread : warpgroup.threads) race::acquire_agent(*thread, warpgroup.agent, finished);
  }
}

}  // namespace

void TensorCores::begin(Block& block) {
  warpgroups_.clear();
  warpgroups_.resize(block.threads.size() / kWarpgroup);
}

Warpgroup& TensorCores::warpgroup(const Thread& thread) {
  const auto i = static_cast<size_t>(thread.index / kWarpgroup);
  if (i < warpgroups_.size()) return warpgroups_[i];
  report(Check::misuse, {}, "wgmma needs whole warpgroups of 128 threads, the block has %d threads",
         thread.block().num_threads);
  abandon_block();
}

void TensorCores::thread_exits(Thread& thread) {
  const auto i = static_cast<size_t>(thread.index / kWarpgroup);
  if (i >= warpgroups_.size()) return;
  Warpgroup& warpgroup = warpgroups_[i];
  if (warpgroup.arrived != 0) {
    report(Check::divergence, warpgroup.site, "a thread exits although others of its warpgroup wait for it in %s",
           warpgroup.name);
  } else if (!warpgroup.products.empty()) {
    report(Check::pending, warpgroup.site, "a thread exits with wgmma products in flight");
    warpgroup.products.clear();  // say it once
  }
}

void meet(Warpgroup& warpgroup, const char* name, void* payload, void (*execute)(Warpgroup&), Site site) {
  Thread& t = self();
  if (warpgroup.arrived != 0 && (warpgroup.name != name || warpgroup.site.line != site.line))
    report_pair(Check::divergence, site, warpgroup.site, "another thread",
                "threads of a warpgroup meet in different operations, %s and %s", name, warpgroup.name);
  const auto i = static_cast<size_t>(t.index % kWarpgroup);
  warpgroup.name = name;
  warpgroup.site = site;
  warpgroup.threads[i] = &t;
  warpgroup.payload[i] = payload;
  if (++warpgroup.arrived != kWarpgroup) {
    sleep(name, site);
    return;
  }
  execute(warpgroup);
  warpgroup.arrived = 0;
  for (Thread* thread : warpgroup.threads)
    if (thread != &t) wake(*thread);
}

void warpgroup_fence() {
  Thread& t = self();
  t.block().unit<TensorCores>().warpgroup(t).fenced[static_cast<size_t>(t.index % kWarpgroup)] = true;
}

void warpgroup_multiply(const WarpgroupProduct& product, Site site) {
  Thread& t = self();
  Warpgroup& warpgroup = t.block().unit<TensorCores>().warpgroup(t);
  bool& fenced = warpgroup.fenced[static_cast<size_t>(t.index % kWarpgroup)];
  if (!fenced) {
    report(Check::fence, site, "wgmma without a wgmma_fence() since the thread last had its sums");
    fenced = true;
  }
  WarpgroupProduct payload = product;
  meet(warpgroup, kMultiply, &payload, start_product, site);
}

void warpgroup_commit(Site) {
  Thread& t = self();
  ++t.block().unit<TensorCores>().warpgroup(t).groups[static_cast<size_t>(t.index % kWarpgroup)];
}

void warpgroup_wait(int pending_groups, Site site) {
  Thread& t = self();
  meet(t.block().unit<TensorCores>().warpgroup(t), kWait, &pending_groups, finish_groups, site);
}

}  // namespace engine::kernels::emulator
