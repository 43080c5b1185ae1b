// To be preloaded into a program: lets its allocations fail as an exhausted machine does.
//   FAIL_ALLOCATION=N         the Nth allocation fails, counted from 1 and from the start of the process
//   FAIL_ALLOCATION_FOREVER   all later ones, too
//   FAIL_ALLOCATION_SIZE=N    only allocations of N bytes or more fail and count
//   COUNT_ALLOCATIONS=FILE    writes their number to FILE at the end
// Allocations are those of operator new. oneDNN's own go past it: it does not survive that they fail.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> count = 0;

long wanted(const char* name) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atol(text) : 0;
}

bool fails(std::size_t size) {
  static const auto smallest = static_cast<std::size_t>(wanted("FAIL_ALLOCATION_SIZE"));
  if (size < smallest) return false;
  static const long at = wanted("FAIL_ALLOCATION");
  static const bool forever = std::getenv("FAIL_ALLOCATION_FOREVER") != nullptr;
  const long number = ++count;
  return at > 0 && (forever ? number >= at : number == at);
}

void* take(std::size_t size) {
  void* block = fails(size) ? nullptr : std::malloc(size != 0 ? size : 1);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

struct Report {
  ~Report() {
    const char* path = std::getenv("COUNT_ALLOCATIONS");
    std::FILE* file = path != nullptr ? std::fopen(path, "w") : nullptr;
    if (file == nullptr) return;
    std::fprintf(file, "%ld\n", count.load());
    std::fclose(file);
  }
} report;

}  // namespace

void* operator new(std::size_t size) {
  return take(size);
}
void* operator new[](std::size_t size) {
  return take(size);
}
void operator delete(void* block) noexcept {
  std::free(block);
}
void operator delete[](void* block) noexcept {
  std::free(block);
}
void operator delete(void* block, std::size_t) noexcept {
  std::free(block);
}
void operator delete[](void* block, std::size_t) noexcept {
  std::free(block);
}
