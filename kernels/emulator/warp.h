#pragma once
// Warp operations: shuffles, votes, __syncwarp. All lanes of `mask` must come; the last one computes for all.
#include <type_traits>

#include "kernels/emulator/thread_view.h"

namespace engine::kernels::emulator {

enum class Vote { ballot, any, all };

void sync_warp(unsigned mask, Site site);
void shuffle(unsigned mask, const void* in, void* out, unsigned bytes, int source_lane, Site site);
unsigned vote(unsigned mask, Vote kind, bool predicate, Site site);

template <class T>
T shuffle_from(unsigned mask, T value, int source_lane, int width, Site site) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "a shuffle exchanges numbers of 4 or 8 bytes");
  const int lane = current->lane, segment = ~(width - 1);
  if ((source_lane & segment) != (lane & segment)) source_lane = lane;  // outside of its segment: its own value
  T result;
  shuffle(mask, &value, &result, sizeof(T), source_lane, site);
  return result;
}

}  // namespace engine::kernels::emulator

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's names
inline void __syncwarp(unsigned mask = 0xffffffffu,
                       engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  engine::kernels::emulator::sync_warp(mask, site);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  const int lane = engine::kernels::emulator::current->lane;
  const int from = (lane & ~(width - 1)) | (source & (width - 1));
  return engine::kernels::emulator::shuffle_from(mask, value, from, width, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  const int lane = engine::kernels::emulator::current->lane;
  return engine::kernels::emulator::shuffle_from(mask, value, lane ^ lane_mask, width, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  const int lane = engine::kernels::emulator::current->lane;
  return engine::kernels::emulator::shuffle_from(mask, value, lane + static_cast<int>(delta), width, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  const int lane = engine::kernels::emulator::current->lane;
  return engine::kernels::emulator::shuffle_from(mask, value, lane - static_cast<int>(delta), width, site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  using engine::kernels::emulator::Vote;
  return engine::kernels::emulator::vote(mask, Vote::ballot, predicate != 0, site);
}
inline int __any_sync(unsigned mask, int predicate,
                      engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  using engine::kernels::emulator::Vote;
  return static_cast<int>(engine::kernels::emulator::vote(mask, Vote::any, predicate != 0, site));
}
inline int __all_sync(unsigned mask, int predicate,
                      engine::kernels::emulator::Site site = engine::kernels::emulator::Site::current()) {
  using engine::kernels::emulator::Vote;
  return static_cast<int>(engine::kernels::emulator::vote(mask, Vote::all, predicate != 0, site));
}
// NOLINTEND(bugprone-reserved-identifier)
