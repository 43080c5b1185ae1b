#pragma once
// Copies of one thread that are under way. Private to kernels/emulator.
#include <cstddef>
#include <vector>

#include "kernels/emulator/thread_view.h"

namespace engine::kernels::emulator {

struct AsyncCopy {
  char* shared;
  const char* global;
  unsigned bytes;
  bool copy;  // false: zeros
  bool done;
  Site site;
};

struct CopyQueue {
  std::vector<AsyncCopy> copies;
  std::vector<size_t> group_ends;  // index after the last copy of each committed group
};

}  // namespace engine::kernels::emulator
