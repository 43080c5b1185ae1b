#include "kernels/emulator/arena.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "kernels/emulator/race/global_memory.h"
#include "kernels/emulator/report.h"
#include "kernels/emulator/settings.h"

namespace engine::kernels::emulator {
namespace {

constexpr size_t kAlignment = 256;
constexpr int kPoison = 0xff;

using Allocations = std::map<const char*, size_t>;  // bytes by address

struct Arena {
  std::mutex mutex;
  Allocations device, pinned;
  size_t used = 0;
};
// Never destroyed: static objects of others may free their memory later.
Arena& arena() {
  static Arena& instance = *new Arena;
  return instance;
}

void* take(size_t bytes) {
  if constexpr (race::kEnabled) return race::allocate_global(bytes);
  void* address = nullptr;
  return posix_memalign(&address, kAlignment, bytes) == 0 ? address : nullptr;
}

void give_back(void* address, size_t bytes) {
  if constexpr (race::kEnabled) {
    race::release_global(address, bytes);
  } else {
    std::free(address);
  }
}

bool contains(const Allocations& allocations, const char* address) {
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return false;
  --next;
  return address <= next->first + next->second;
}

}  // namespace

Status allocate(void** out, size_t bytes) {
  *out = nullptr;
  if (bytes == 0) return {};
  constexpr Status kOutOfMemory{Problem::out_of_memory, 2, "out of memory"};
  Arena& a = arena();
  const std::lock_guard lock(a.mutex);
  if (bytes > settings().memory || a.used > settings().memory - bytes) return kOutOfMemory;
  void* address = take(bytes);
  if (address == nullptr) return kOutOfMemory;
  std::memset(address, kPoison, bytes);
  a.device.emplace(static_cast<const char*>(address), bytes);
  a.used += bytes;
  *out = address;
  return {};
}

Status release(void* address) {
  if (address == nullptr) return {};
  Arena& a = arena();
  const std::lock_guard lock(a.mutex);
  const auto found = a.device.find(static_cast<const char*>(address));
  if (found == a.device.end()) {
    report(Check::misuse, {}, "free of %p, which is no allocation of the device, or freed already", address);
    return {Problem::other, 1, "invalid value: not the address of an allocation"};
  }
  const size_t bytes = found->second;
  a.used -= bytes;
  a.device.erase(found);
  give_back(address, bytes);
  return {};
}

Status allocate_pinned(void** out, size_t bytes) {
  *out = nullptr;
  if (bytes == 0) return {};
  if (posix_memalign(out, kAlignment, bytes) != 0) return {Problem::out_of_memory, 2, "out of memory"};
  Arena& a = arena();
  const std::lock_guard lock(a.mutex);
  a.pinned.emplace(static_cast<const char*>(*out), bytes);
  return {};
}

Status release_pinned(void* address) {
  Arena& a = arena();
  const std::lock_guard lock(a.mutex);
  if (address != nullptr && a.pinned.erase(static_cast<const char*>(address)) == 0) {
    report(Check::misuse, {}, "free of %p, which is no pinned memory, or freed already", address);
    return {Problem::other, 1, "invalid value: not the address of pinned memory"};
  }
  std::free(address);
  return {};
}

bool is_device_address(const void* address) {
  Arena& a = arena();
  const std::lock_guard lock(a.mutex);
  const char* byte = static_cast<const char*>(address);
  return contains(a.device, byte) || contains(a.pinned, byte);
}

Status memory_info(size_t* free, size_t* total) {
  Arena& a = arena();
  const std::lock_guard lock(a.mutex);
  *total = settings().memory;
  *free = settings().memory > a.used ? settings().memory - a.used : 0;
  return {};
}

void copy_to_device(void* device, const void* host, size_t bytes) {
  if (bytes == 0) return;
  if constexpr (race::kEnabled) race::host_write(device, bytes);
  std::memcpy(device, host, bytes);
}

void copy_to_host(void* host, const void* device, size_t bytes) {
  if (bytes == 0) return;
  if constexpr (race::kEnabled) race::host_read(device, bytes);
  std::memcpy(host, device, bytes);
}

void copy_on_device(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  if constexpr (race::kEnabled) race::host_copy(to, from, bytes);
  std::memmove(to, from, bytes);
}

void set_bytes(void* device, int value, size_t bytes) {
  if (bytes == 0) return;
  if constexpr (race::kEnabled) race::host_write(device, bytes);
  std::memset(device, value, bytes);
}

}  // namespace engine::kernels::emulator
