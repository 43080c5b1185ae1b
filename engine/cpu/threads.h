#pragma once
// Threads of the CPU backend: OpenMP's, shared with oneDNN.
#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "engine/device.h"

namespace engine::cpu {

// Makes the calling thread's parallel regions, oneDNN's among them, use num_threads() threads. Cheap after the first
// time.
void use_threads();

// Calls body(begin, end) on contiguous parts of [0, count), one part a thread. Results must not depend on where the
// parts end. With `worth_it` false it runs in the calling thread; never in a smaller team, because libgomp ends the
// threads that a smaller team leaves out and starts them again later.
template <class Body>
void parallel_for(int64_t count, const Body& body, bool worth_it = true) {
  const int threads = num_threads();
  if (threads == 1 || count <= 1 || !worth_it) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
  use_threads();
#pragma omp parallel num_threads(threads)
  {
    const int64_t team = omp_get_num_threads(), me = omp_get_thread_num();
    const int64_t begin = count * me / team, end = count * (me + 1) / team;
    if (begin < end) body(begin, end);
  }
}

// Below this many bytes moved, starting a team costs more than it saves.
inline constexpr int64_t kSerialBytes = 64 << 10;

}  // namespace engine::cpu
