#pragma once
// The question that every access asks, inlined. Private to kernels/emulator.
#include "kernels/emulator/block.h"
#include "kernels/emulator/race/clock.h"

namespace engine::kernels::emulator::race {

// ordered() of clock.h.
inline bool is_ordered(const Block& block, Stamp stamp, const Thread& thread) {
  if (stamp.actor == thread.index) return true;
  const VectorClock& base = block.clock->base;
  if (stamp.actor < base.size() && stamp.time < base[stamp.actor]) return true;
  const VectorClock& known = thread.clock->known;
  return stamp.actor < known.size() && known[stamp.actor] >= stamp.time;
}

}  // namespace engine::kernels::emulator::race
