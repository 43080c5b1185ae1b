#pragma once
// Caching allocator of a GPU. Asking CUDA for memory takes as long as many kernels and waits for the device when it is
// given back, so memory is kept and handed out again. All work runs on one stream: a block that is released may be
// handed out at once, since whatever uses it next runs after whatever used it last.
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "engine/cuda/context.h"
#include "engine/device.h"

namespace engine::cuda {

// AddressSanitizer and the emulator's own checks see an overrun only if every block has its own guard zones.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// Best fit over segments, blocks split and merged with their neighbours, addresses aligned to 256 bytes. Thread-safe.
class Allocator {
 public:
  // With `own_segments` nothing is shared or kept: each block is asked of the device and given back to it.
  explicit Allocator(const Context& context, bool own_segments = kSanitized);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // Zero bytes give a null pointer. If the device has no more, cached segments go back to it before this throws
  // Error(memory), which tells what was asked for, what is free and who has the rest.
  void* allocate(size_t bytes);
  void release(void* data) noexcept;
  // Gives back every segment of which nothing is in use.
  void trim();

  MemoryStats stats() const;
  void reset_peak();

  // A captured graph keeps using the addresses that it saw. Blocks that are handed out between begin_pool() and
  // end_pool() belong to a pool: released, they are handed out again there, and to nobody else until free_pool().
  using Pool = int;
  Pool begin_pool(Pool pool = 0);  // 0: a new one
  void end_pool();
  void free_pool(Pool pool);

 private:
  struct Block {
    size_t bytes;
    bool free;
    Pool pool;
  };
  using FreeKey = std::pair<size_t, char*>;

  char* take(size_t bytes);
  char* take_from(Pool pool, size_t bytes);  // null if nothing there is large enough
  void grow(size_t bytes);
  void insert_free(char* begin);
  void trim_locked();
  [[noreturn]] void fail_out_of_memory(size_t bytes) const;
  bool begins_segment(char* address) const { return segments_.contains(address); }

  const Context& context_;
  const bool own_segments_;
  mutable std::mutex mutex_;
  std::map<char*, size_t> segments_;        // address -> bytes
  std::map<char*, Block> blocks_;           // every block of every segment, by address
  std::map<Pool, std::set<FreeKey>> free_;  // by size
  Pool pool_ = 0, last_pool_ = 0;           // 0: everybody's
  MemoryStats stats_;
};

// Scratch memory for the duration of an operation's launches.
class Scratch {
 public:
  Scratch(Allocator& allocator, size_t bytes) : allocator_(allocator), data_(allocator.allocate(bytes)) {}
  ~Scratch() { allocator_.release(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T = void>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  Allocator& allocator_;
  void* data_;
};

}  // namespace engine::cuda
