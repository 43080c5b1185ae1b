#pragma once
// Caching allocator of the CPU: a training step asks for the same sizes again and again, and pages that come from the
// system one fault at a time cost more than many of the operations that use them.
#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "engine/device.h"

namespace engine::cpu {

// Best fit over large mapped segments, blocks split and merged with their neighbours, addresses aligned to 64 bytes.
// Memory stays with the allocator until the end of the process. Thread-safe.
class Allocator {
 public:
  // Blocks may be asked for until `limit` bytes of the system are held.
  explicit Allocator(size_t limit);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // Throws Error(memory) if the system has no more. Zero bytes give a null pointer.
  void* allocate(size_t bytes);
  // `bytes` as given to allocate().
  void release(void* data, size_t bytes) noexcept;

  MemoryStats stats() const;
  void reset_peak();

 private:
  struct Segment {
    char* begin;
    size_t bytes;
    size_t touched;  // bytes from the begin that were ever handed out: what the system really holds
  };

  char* take(size_t bytes);
  void grow(size_t bytes);
  void note_touched(const char* end);
  void insert_free(char* begin, size_t bytes);

  const size_t limit_;
  mutable std::mutex mutex_;
  std::vector<Segment> segments_;
  std::map<char*, size_t> free_by_address_;
  std::set<std::pair<size_t, char*>> free_by_size_;
  MemoryStats stats_;
};

// Bytes that this process may use: the smaller of the machine's memory and its control group's limit.
size_t memory_limit();

Allocator& allocator();

// Scratch memory for the duration of an operation.
class Buffer {
 public:
  explicit Buffer(size_t bytes) : data_(allocator().allocate(bytes)), bytes_(bytes) {}
  ~Buffer() { allocator().release(data_, bytes_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  template <class T = void>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_;
  size_t bytes_;
};

}  // namespace engine::cpu
