#include "engine/cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace engine::cuda {
namespace {

constexpr size_t kLeast = size_t{64} << 10;
constexpr size_t kMost = size_t{64} << 20;  // larger uploads go in pieces

}  // namespace

Staging::~Staging() {
  for (Half& half : halves_) {
    if (half.read != nullptr) (void)context_.runtime().event_destroy(half.read);
    if (half.data != nullptr) (void)context_.runtime().free_pinned(half.data);
  }
}

void Staging::wait(Half& half) {
  if (half.pending) context_.check("waiting for an upload", context_.runtime().event_synchronize(half.read));
  half.pending = false;
}

void Staging::reserve(Half& half, size_t bytes) {
  const Runtime& runtime = context_.runtime();
  if (half.read == nullptr) context_.check("creating an event", runtime.event_create(&half.read));
  if (half.bytes >= bytes) return;
  if (half.data != nullptr) context_.check("freeing pinned memory", runtime.free_pinned(half.data));
  half.data = nullptr;
  half.bytes = 0;
  // Twice as much as asked for: batches of growing size would come here each time.
  const size_t size = std::min(kMost, std::max(kLeast, 2 * bytes));
  context_.check("allocating pinned memory", runtime.malloc_pinned(&half.data, size));
  half.bytes = size;
}

void Staging::upload(void* device, const void* host, size_t bytes) {
  const std::lock_guard lock(mutex_);
  const Stream stream = context_.stream();
  for (size_t done = 0; done < bytes;) {
    const size_t piece = std::min(bytes - done, kMost);
    Half& half = halves_[next_];
    next_ = 1 - next_;
    wait(half);
    reserve(half, piece);
    std::memcpy(half.data, static_cast<const char*>(host) + done, piece);
    context_.check("upload",
                   context_.runtime().copy_to_device(static_cast<char*>(device) + done, half.data, piece, stream));
    context_.check("recording an event", context_.runtime().event_record(half.read, stream));
    half.pending = true;
    done += piece;
  }
}

}  // namespace engine::cuda
