#include "kernels/emulator/stacks.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "kernels/emulator/sanitizer.h"

namespace engine::kernels::emulator {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kStackBytes = (sanitizer::kEnabled ? 256 : 64) * 1024;
// Stacks at a distance of a power of two would meet in the same sets of the cache: a switch among 256 fibers then takes
// 2.5 times as long.
constexpr size_t kDistance = kStackBytes + kPage + 320;
constexpr int kPerMapping = 64;

}  // namespace

Stacks::~Stacks() {
  for (char* mapping : mappings_) munmap(mapping, kDistance * kPerMapping);
}

int Stacks::take() {
  if (free_.empty()) map_more();
  const int stack = free_.back();
  free_.pop_back();
  return stack;
}

void Stacks::give_back_all() {
  free_.clear();
  for (size_t i = stacks_.size(); i-- > 0;) free_.push_back(static_cast<int>(i));
}

void Stacks::map_more() {
  void* memory = mmap(nullptr, kDistance * kPerMapping, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("emulator: mapping stacks of fibers");
    std::abort();
  }
  char* base = static_cast<char*>(memory);
  mappings_.push_back(base);
  for (int i = 0; i < kPerMapping; ++i) {
    char* begin = base + kDistance * static_cast<size_t>(i);
    char* guard = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(begin) + kPage - 1) & ~uintptr_t{kPage - 1});
    mprotect(guard, kPage, PROT_NONE);  // an overflow shall not reach the neighbour
    char* low = guard + kPage;
    stacks_.push_back({low, static_cast<size_t>(begin + kDistance - low)});
    free_.push_back(static_cast<int>(stacks_.size()) - 1);
  }
}

}  // namespace engine::kernels::emulator
