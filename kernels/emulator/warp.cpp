#include "kernels/emulator/warp.h"

#include <bit>
#include <cstring>

#include "kernels/emulator/report.h"
#include "kernels/emulator/scheduler.h"
#include "kernels/emulator/statistics.h"
#include "kernels/emulator/warp_operation.h"

namespace engine::kernels::emulator {
namespace {

template <class F>
void for_each_lane(unsigned mask, F&& f) {
  for (; mask != 0; mask &= mask - 1) f(std::countr_zero(mask));
}

// The slot where these lanes meet: one that has the mask already, else a free one.
WarpOperation& slot_for(Warp& warp, unsigned mask, const WarpOperationKind& kind, Site site) {
  for (WarpOperation& operation : warp.operations)
    if (operation.arrived != 0 && operation.mask == mask) return operation;
  for (WarpOperation& operation : warp.operations) {
    if (operation.arrived == 0) {
      operation.mask = mask;
      operation.kind = &kind;
      operation.site = site;
      ++warp.busy;
      return operation;
    }
  }
  report(Check::divergence, site, "the lanes of one warp are in more than %zu different operations: %s",
         warp.operations.size(), kind.name);
  abandon_block();
}

struct Shuffle {
  const void* in;
  void* out;
  unsigned bytes;
  int source;
};

template <class T>
void copy(const Shuffle& from, const Shuffle& to) {
  T value;
  std::memcpy(&value, from.in, sizeof value);
  std::memcpy(to.out, &value, sizeof value);
}

void run_shuffle(WarpOperation& operation) {
  for_each_lane(operation.mask, [&](int lane) {
    const auto& wish = *static_cast<const Shuffle*>(operation.payload[lane]);
    if ((operation.mask >> wish.source & 1u) == 0) {
      report(Check::divergence, operation.site, "%s reads lane %d, which is not in the mask %08x", operation.kind->name,
             wish.source, operation.mask);
      std::memset(wish.out, 0xff, wish.bytes);
      return;
    }
    const auto& source = *static_cast<const Shuffle*>(operation.payload[wish.source]);
    if (wish.bytes == 4) {
      copy<uint32_t>(source, wish);
    } else {
      copy<uint64_t>(source, wish);
    }
  });
}

struct Ballot {
  bool predicate;
  unsigned result;
};

void run_ballot(WarpOperation& operation) {
  unsigned result = 0;
  for_each_lane(operation.mask, [&](int lane) {
    if (static_cast<const Ballot*>(operation.payload[lane])->predicate) result |= 1u << lane;
  });
  for_each_lane(operation.mask, [&](int lane) { static_cast<Ballot*>(operation.payload[lane])->result = result; });
}

void run_sync(WarpOperation& operation) {
  if constexpr (race::kEnabled) {
    Thread* threads[32];
    int count = 0;
    for_each_lane(operation.mask, [&](int lane) { threads[count++] = operation.threads[lane]; });
    race::synchronize(threads, count);
  }
}

constexpr WarpOperationKind kShuffle{"__shfl_sync", run_shuffle, false};
constexpr WarpOperationKind kBallot{"__ballot_sync", run_ballot, false};
constexpr WarpOperationKind kAny{"__any_sync", run_ballot, false};
constexpr WarpOperationKind kAll{"__all_sync", run_ballot, false};
constexpr WarpOperationKind kSyncWarp{"__syncwarp", run_sync, false};

}  // namespace

void meet(unsigned mask, const WarpOperationKind& kind, void* payload, Site site) {
  Thread& t = self();
  Warp& warp = t.block().warps[static_cast<size_t>(t.warp)];
  const unsigned me = 1u << t.lane;
  mask &= warp.exist;
  if ((mask & me) == 0) {
    report(Check::divergence, site, "%s is called by lane %d, which is not in its mask", kind.name, t.lane);
    mask |= me;
  }
  if ((mask & warp.exited) != 0) {
    report(Check::divergence, site, "the mask %08x of %s names lanes %08x, which have exited", mask, kind.name,
           mask & warp.exited);
    mask &= ~warp.exited;
  }
  WarpOperation& operation = slot_for(warp, mask, kind, site);
  if (operation.kind != &kind) {
    report_pair(Check::divergence, site, operation.site, "another lane", "lanes of a warp meet in %s and in %s",
                kind.name, operation.kind->name);
    abandon_block();  // what the others passed means something else
  }
  if (kind.aligned && operation.site.line != site.line)
    report_pair(Check::divergence, site, operation.site, "another lane", "lanes of a warp are in different %s",
                kind.name);

  operation.payload[t.lane] = payload;
  operation.threads[t.lane] = &t;
  operation.arrived |= me;
  if (operation.arrived != operation.mask) {
    sleep(kind.name, site, mask);
    return;
  }
  ++local_statistics().warp_operations;
  kind.execute(operation);
  operation.arrived = 0;
  --warp.busy;
  wake(operation.mask & ~me, operation.threads);
}

void leave_warp(Thread& thread) {
  Warp& warp = thread.block().warps[static_cast<size_t>(thread.warp)];
  const unsigned me = 1u << thread.lane;
  warp.exited |= me;
  if (warp.busy == 0) return;
  for (const WarpOperation& operation : warp.operations) {
    if (operation.arrived != 0 && (operation.mask & me) != 0)
      report(Check::divergence, operation.site, "a thread exits although other lanes of its warp wait for it in %s",
             operation.kind->name);
  }
}

void sync_warp(unsigned mask, Site site) {
  meet(mask, kSyncWarp, nullptr, site);
}

void shuffle(unsigned mask, const void* in, void* out, unsigned bytes, int source_lane, Site site) {
  Shuffle payload{in, out, bytes, source_lane};
  meet(mask, kShuffle, &payload, site);
}

unsigned vote(unsigned mask, Vote kind, bool predicate, Site site) {
  Ballot payload{predicate, 0};
  meet(mask, kind == Vote::ballot ? kBallot : kind == Vote::any ? kAny : kAll, &payload, site);
  if (kind == Vote::ballot) return payload.result;
  const unsigned lanes = mask & self().block().warps[static_cast<size_t>(self().warp)].exist;
  return kind == Vote::any ? payload.result != 0 : payload.result == lanes;
}

}  // namespace engine::kernels::emulator
