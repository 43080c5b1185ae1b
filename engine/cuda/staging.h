#pragma once
// The way of host memory to the device: through two pinned buffers in turns, so that the copy into one goes on while
// the device still reads the other, and an upload returns before it is done.
#include <array>
#include <cstddef>
#include <mutex>

#include "engine/cuda/context.h"

namespace engine::cuda {

class Staging {
 public:
  explicit Staging(const Context& context) : context_(context) {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // `host` may be changed as soon as this returns; the device sees the bytes in the order of the stream. Thread-safe.
  void upload(void* device, const void* host, size_t bytes);

 private:
  struct Half {
    void* data = nullptr;
    size_t bytes = 0;
    kernels::Event read = nullptr;  // the device has read it
    bool pending = false;
  };
  void reserve(Half& half, size_t bytes);
  void wait(Half& half);

  const Context& context_;
  std::mutex mutex_;
  std::array<Half, 2> halves_;
  size_t next_ = 0;
};

}  // namespace engine::cuda
