#pragma once
// The mbarriers of a block, for the threads and for TMA. Private to kernels/emulator.
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "kernels/emulator/block.h"

namespace engine::kernels::emulator {

struct Mbarrier {
  unsigned offset = 0;  // in shared memory
  int count = 0;        // arrivals of a phase
  int missing = 0;      // of them, in this phase
  int64_t bytes = 0;    // expected and not come; negative where they came before they were expected
  uint32_t phase = 0;   // phases that have ended
  bool fenced = false;  // its initialisation is visible to TMA
  int owner = 0;        // the thread that initialised it
  Site site;            // where
  std::vector<std::pair<Thread*, uint32_t>> waiting;  // with the parity of the phase that they wait for

  race::Stamp initialised;
  int agent = -1;               // stands for the copies that report to this mbarrier
  race::VectorClock arriving;   // what those know that arrived in this phase
  race::VectorClock completed;  // in all ended phases
};

class Mbarriers : public AsyncUnit {
 public:
  void begin(Block&) override { barriers_.clear(); }
  bool progress(Block&) override { return false; }
  std::string state() const override;

  void init(Thread& thread, unsigned offset, int count, Site site);
  // Ends the block if there is none.
  Mbarrier& at(Thread& thread, const uint64_t* address, Site site);
  void fence(const Thread& thread);

  static void arrive(Thread& thread, Mbarrier& barrier, uint32_t expected_bytes, Site site);
  static void receive(Block& block, Mbarrier& barrier, int64_t bytes);

 private:
  static void end_phase_if_complete(Mbarrier& barrier);

  std::deque<Mbarrier> barriers_;  // a deque: copies in flight point to them
};

}  // namespace engine::kernels::emulator
