// TMA copies as they run: in flight from the call until the scheduler or a wait completes them.
#include "kernels/emulator/tma.h"

#include <cstring>
#include <deque>
#include <map>

#include "kernels/emulator/mbarrier_state.h"
#include "kernels/emulator/race/detector.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/scheduler.h"
#include "kernels/emulator/settings.h"
#include "kernels/emulator/shared_memory.h"
#include "kernels/emulator/statistics.h"
#include "kernels/emulator/tma_box.h"

namespace engine::kernels::emulator {
namespace {

struct Load {
  TmaBox box;
  Mbarrier* barrier;
};

struct Store {
  TmaBox box;
  int group;
  bool done;  // global memory is written; that shared memory was read, nobody knows before the wait
};

// Of one thread.
struct StoreQueue {
  int groups = 0;  // committed
  int agent = -1;  // reads of shared memory
  std::deque<Store> stores;
};

bool at_random() {
  return settings().async == Async::random && schedule_random()() % 2 == 0;
}

class TensorMemory : public AsyncUnit {
 public:
  void begin(Block&) override {
    loads_.clear();
    queues_.clear();
  }

  bool progress(Block& block) override {
    if (loads_.empty()) return false;
    const size_t i = settings().async == Async::random ? schedule_random()() % loads_.size() : 0;
    const Load load = loads_[i];
    loads_.erase(loads_.begin() + static_cast<ptrdiff_t>(i));
    finish(block, load);
    return true;
  }

  void end(Block&) override {
    if (!loads_.empty())
      report(Check::pending, loads_.front().box.site, "a block ends with %zu TMA loads in flight", loads_.size());
    for (const auto& [thread, queue] : queues_) {
      if (queue.stores.empty()) continue;
      report(Check::pending, queue.stores.front().box.site,
             "a block ends while a TMA store may still read its shared memory; wait for the store first");
      return;
    }
  }

  void start(Thread& thread, const Load& load) {
    Block& block = thread.block();
    if constexpr (race::kEnabled) race::async_write_begin(thread, load.box.shared, load.box.bytes, load.box.site);
    access_global(thread, load.box, race::Access::read);
    if (settings().async == Async::eager) {
      finish(block, load);
      return;
    }
    std::memset(block.shared + load.box.shared, 0xff, load.box.bytes);  // NaN until it is there
    loads_.push_back(load);
  }

  void start(Thread& thread, const TmaBox& box) {
    Block& block = thread.block();
    StoreQueue& queue = queues_[thread.index];
    Store store{box, queue.groups, settings().async == Async::eager || at_random()};
    if constexpr (race::kEnabled) {
      if (queue.agent < 0) queue.agent = race::new_agent(block, box.site);
      race::async_read(thread, box.shared, box.bytes, race::agent_stamp(block, queue.agent, time_of(store)), box.site,
                       "a TMA store", true);
    }
    access_global(thread, box, race::Access::write);
    if (store.done) store_box(box, block.shared);
    queue.stores.push_back(store);
  }

  void commit(const Thread& thread) { ++queues_[thread.index].groups; }

  void wait(Thread& thread, int pending_groups) {
    StoreQueue& queue = queues_[thread.index];
    while (!queue.stores.empty() && queue.stores.front().group < queue.groups - pending_groups) {
      const Store& store = queue.stores.front();
      if (!store.done) store_box(store.box, thread.block().shared);
      if constexpr (race::kEnabled) race::acquire_agent(thread, queue.agent, time_of(store));
      queue.stores.pop_front();
    }
  }

 private:
  static uint32_t time_of(const Store& store) { return static_cast<uint32_t>(store.group) + 1; }

  static void finish(Block& block, const Load& load) {
    load_box(load.box, block.shared);
    Mbarrier& barrier = *load.barrier;
    if constexpr (race::kEnabled)
      race::async_write_end(block, load.box.shared, load.box.bytes,
                            race::agent_stamp(block, barrier.agent, barrier.phase + 1), true, load.box.site);
    Mbarriers::receive(block, barrier, load.box.bytes);
  }

  std::deque<Load> loads_;
  std::map<int, StoreQueue> queues_;  // by thread
};

TmaBox box_of(const gpu::TensorMap& map, const void* shared, const int* coordinates, int rank, bool im2col, Site site) {
  TmaBox box{.map = map, .shared = shared_offset(shared, site), .bytes = bytes_of(map), .site = site};
  std::memcpy(box.coordinates, coordinates, static_cast<size_t>(rank) * sizeof(int));
  if (map.rank != rank || map.im2col != im2col) {
    report(Check::misuse, site, "a copy with %d coordinates%s of a tensor map with %d dimensions%s", rank,
           im2col ? " in im2col mode" : "", map.rank, map.im2col ? " in im2col mode" : "");
    abandon_block();
  }
  if (box.shared % 128 != 0) report(Check::alignment, site, "TMA's side in shared memory is not aligned to 128 bytes");
  if (box.shared + box.bytes > self().block().static_end) {
    report(Check::bounds, site, "a box of %u bytes does not fit into shared memory at offset %u", box.bytes,
           box.shared);
    abandon_block();
  }
  ++local_statistics().async_copies;
  return box;
}

void start_load(const TmaBox& box, uint64_t* barrier) {
  Thread& t = self();
  Mbarrier& found = t.block().unit<Mbarriers>().at(t, barrier, box.site);
  if (!found.fenced) {
    report_pair(Check::fence, box.site, found.site, "the initialisation",
                "TMA uses an mbarrier although no fence_mbar_init() followed its initialisation");
    found.fenced = true;  // say it once
  }
  t.block().unit<TensorMemory>().start(t, Load{box, &found});
}

}  // namespace

void tma_load_box(const gpu::TensorMap* map, uint64_t* barrier, void* shared, const int* coordinates, int rank,
                  Site site) {
  start_load(box_of(*map, shared, coordinates, rank, false, site), barrier);
}

void tma_load_column(const gpu::TensorMap* map, uint64_t* barrier, void* shared, const int* coordinates,
                     const int* offset, Site site) {
  TmaBox box = box_of(*map, shared, coordinates, 4, true, site);
  std::memcpy(box.offset, offset, sizeof box.offset);
  if (!is_position(box))
    report(Check::misuse, site, "(w, h) = (%d, %d) with offset (%d, %d) is no position of the tensor map's convolution",
           coordinates[1], coordinates[2], offset[0], offset[1]);
  start_load(box, barrier);
}

void tma_store_box(const gpu::TensorMap* map, const void* shared, const int* coordinates, int rank, Site site) {
  Thread& t = self();
  t.block().unit<TensorMemory>().start(t, box_of(*map, shared, coordinates, rank, false, site));
}

void tma_commit_stores() {
  Thread& t = self();
  t.block().unit<TensorMemory>().commit(t);
}

void tma_wait_stores(int pending_groups, Site) {
  Thread& t = self();
  t.block().unit<TensorMemory>().wait(t, pending_groups);
}

}  // namespace engine::kernels::emulator
