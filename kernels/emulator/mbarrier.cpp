#include "kernels/emulator/mbarrier.h"

#include <algorithm>

#include "kernels/emulator/mbarrier_state.h"
#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/scheduler.h"
#include "kernels/emulator/shared_memory.h"

namespace engine::kernels::emulator {
namespace {

constexpr int64_t kMaxCount = (1 << 20) - 1;  // of arrivals and of bytes, as PTX defines them

}  // namespace

void Mbarriers::init(Thread& thread, unsigned offset, int count, Site site) {
  if (offset % 8 != 0) report(Check::alignment, site, "an mbarrier is not aligned to 8 bytes");
  if (count < 1 || count > kMaxCount) report(Check::misuse, site, "an mbarrier counts %d arrivals", count);
  const auto known = [&](const Mbarrier& b) { return b.offset == offset; };
  const auto found = std::find_if(barriers_.begin(), barriers_.end(), known);
  if (found != barriers_.end()) {
    report_pair(Check::misuse, site, found->site, "the first", "an mbarrier is initialised twice");
    return;
  }
  Mbarrier barrier;
  barrier.offset = offset;
  barrier.count = barrier.missing = count;
  barrier.owner = thread.index;
  barrier.site = site;
  if constexpr (race::kEnabled) {
    race::shared_access(thread, offset, sizeof(uint64_t), race::Access::write, site);
    barrier.initialised = race::now(thread);
    barrier.agent = race::new_agent(thread.block(), site);
  }
  barriers_.push_back(std::move(barrier));
}

Mbarrier& Mbarriers::at(Thread& thread, const uint64_t* address, Site site) {
  const unsigned offset = shared_offset(address, site);
  const auto known = [&](const Mbarrier& b) { return b.offset == offset; };
  const auto found = std::find_if(barriers_.begin(), barriers_.end(), known);
  if (found == barriers_.end()) {
    report(Check::uninitialised, site, "the mbarrier at shared memory offset %u was not initialised", offset);
    abandon_block();
  }
  if constexpr (race::kEnabled) {
    if (!race::ordered(thread.block(), found->initialised, thread)) {
      report_pair(Check::race, site, found->site, "its initialisation",
                  "an mbarrier is used by a thread that nothing orders after its initialisation");
      found->initialised = race::now(thread);  // say it once
    }
  }
  return *found;
}

void Mbarriers::fence(const Thread& thread) {
  for (Mbarrier& barrier : barriers_)
    if (barrier.owner == thread.index) barrier.fenced = true;
}

void Mbarriers::end_phase_if_complete(Mbarrier& barrier) {
  if (barrier.missing != 0 || barrier.bytes != 0) return;
  const uint32_t parity = barrier.phase++ & 1u;
  barrier.missing = barrier.count;
  if constexpr (race::kEnabled) race::join(barrier.completed, barrier.arriving);
  std::erase_if(barrier.waiting, [&](const auto& waiting) {
    if (waiting.second != parity) return false;
    wake(*waiting.first);
    return true;
  });
}

void Mbarriers::arrive(Thread& thread, Mbarrier& barrier, uint32_t expected_bytes, Site site) {
  if constexpr (race::kEnabled) race::release(thread, barrier.arriving);
  barrier.bytes += expected_bytes;
  if (barrier.bytes > kMaxCount)
    report(Check::misuse, site, "an mbarrier expects %lld bytes, more than it can count",
           static_cast<long long>(barrier.bytes));
  if (barrier.missing == 0) {
    report(Check::misuse, site, "more than %d arrivals in one phase of an mbarrier", barrier.count);
    return;
  }
  --barrier.missing;
  end_phase_if_complete(barrier);
}

void Mbarriers::receive(Block& block, Mbarrier& barrier, int64_t bytes) {
  if constexpr (race::kEnabled) race::release_agent(block, barrier.arriving, barrier.agent, barrier.phase + 1);
  barrier.bytes -= bytes;
  end_phase_if_complete(barrier);
}

std::string Mbarriers::state() const {
  std::string text;
  for (const Mbarrier& barrier : barriers_) {
    if (!text.empty()) text += ", ";
    text += "mbarrier at offset " + std::to_string(barrier.offset) + " in phase " + std::to_string(barrier.phase) +
            " lacks " + std::to_string(barrier.missing) + " of " + std::to_string(barrier.count) + " arrivals and " +
            std::to_string(barrier.bytes) + " bytes";
  }
  return text;
}

void mbarrier_init(uint64_t* barrier, int count, Site site) {
  Thread& t = self();
  t.block().unit<Mbarriers>().init(t, shared_offset(barrier, site), count, site);
}

void mbarrier_arrive(uint64_t* barrier, uint32_t expected_bytes, Site site) {
  Thread& t = self();
  Mbarriers::arrive(t, t.block().unit<Mbarriers>().at(t, barrier, site), expected_bytes, site);
}

void mbarrier_wait(uint64_t* barrier, uint32_t parity, Site site) {
  Thread& t = self();
  Mbarrier& found = t.block().unit<Mbarriers>().at(t, barrier, site);
  if (parity > 1) report(Check::misuse, site, "the parity of an mbarrier's phase is 0 or 1, not %u", parity);
  while ((found.phase & 1u) == parity) {
    found.waiting.emplace_back(&t, parity);
    sleep("mbarrier wait", site, parity);
  }
  if constexpr (race::kEnabled) race::acquire(t, found.completed);
}

void fence_mbarrier_init() {
  Thread& t = self();
  t.block().unit<Mbarriers>().fence(t);
}

void fence_async_proxy() {
  Thread& t = self();
  t.block().unit<Mbarriers>().fence(t);
  if constexpr (race::kEnabled) race::proxy_fence(t);
}

}  // namespace engine::kernels::emulator
