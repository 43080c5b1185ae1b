#pragma once
// Memory of the emulated device: allocations of exactly the asked size, so that the sanitizers (and the race build's
// own shadow) see what lies past their end, filled with 0xFF, which is NaN. Private to kernels/emulator.
#include <cstddef>

#include "kernels/runtime.h"

namespace engine::kernels::emulator {

Status allocate(void** out, size_t bytes);
Status release(void* address);
// Host memory that the device can read and write.
Status allocate_pinned(void** out, size_t bytes);
Status release_pinned(void* address);
// Of an allocation of either kind, or its end.
bool is_device_address(const void* address);
Status memory_info(size_t* free, size_t* total);

// Host code writes, sets or copies device memory: what is initialised follows.
void copy_to_device(void* device, const void* host, size_t bytes);
void copy_to_host(void* host, const void* device, size_t bytes);
void copy_on_device(void* to, const void* from, size_t bytes);
void set_bytes(void* device, int value, size_t bytes);

}  // namespace engine::kernels::emulator
