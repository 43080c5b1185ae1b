#include "kernels/emulator/runtime.h"

#include <cstring>

#include "kernels/emulator/arena.h"
#include "kernels/emulator/block.h"
#include "kernels/emulator/settings.h"
#include "kernels/emulator/stream.h"

namespace engine::kernels::emulator {
namespace {

constexpr Status kNoSuchDevice{Problem::other, 101, "invalid device: the emulator is device 0"};

Status device_properties(int device, DeviceProperties* out) {
  if (device != 0) return kNoSuchDevice;
  *out = {};
  std::strcpy(out->name, "emulated GPU");
  out->major = 9;
  out->multiprocessors = 4;
  out->memory = settings().memory;
  out->shared_memory_of_block = kMaxSharedBytes;
  return {};
}

Status malloc_device(void** out, size_t bytes) {
  *out = nullptr;
  if (const Status status = refuse_in_capture(); !status.ok()) return status;
  return allocate(out, bytes);
}

Status free_device(void* data) {
  if (const Status status = refuse_in_capture(); !status.ok()) return status;
  return release(data);
}

Status malloc_pinned(void** out, size_t bytes) {
  *out = nullptr;
  if (const Status status = refuse_in_capture(); !status.ok()) return status;
  return allocate_pinned(out, bytes);
}

Status free_pinned(void* data) {
  if (const Status status = refuse_in_capture(); !status.ok()) return status;
  return release_pinned(data);
}

template <auto kCopy>
Status copy(void* to, const void* from, size_t bytes, Stream stream) {
  return enqueue(stream, [=] {
    kCopy(to, from, bytes);
    return Status{};
  });
}

Status set(void* device, int value, size_t bytes, Stream stream) {
  return enqueue(stream, [=] {
    set_bytes(device, value, bytes);
    return Status{};
  });
}

}  // namespace

const Runtime& runtime() {
  static const Runtime table = {
      .name = "emulator",
      .versions =
          [](RuntimeVersions* out) {
            *out = {};
            return Status{};
          },
      .device_count =
          [](int* out) {
            *out = 1;
            return Status{};
          },
      .device_properties = device_properties,
      .set_device = [](int device) { return device == 0 ? Status{} : kNoSuchDevice; },
      .memory_info = memory_info,
      .malloc_device = malloc_device,
      .free_device = free_device,
      .malloc_pinned = malloc_pinned,
      .free_pinned = free_pinned,
      .copy_to_device = copy<copy_to_device>,
      .copy_to_host = copy<copy_to_host>,
      .copy_on_device = copy<copy_on_device>,
      .set_bytes = set,
      .stream_create = stream_create,
      .stream_destroy = stream_destroy,
      .stream_synchronize = stream_synchronize,
      .stream_wait = stream_wait,
      .event_create = event_create,
      .event_destroy = event_destroy,
      .event_record = event_record,
      .event_synchronize = event_synchronize,
      .elapsed_ms = elapsed_ms,
      .begin_capture = begin_capture,
      .end_capture = end_capture,
      .launch_graph = launch_graph,
      .destroy_graph = destroy_graph,
      .graph_kernels = graph_kernels,
      .last_error = take_last_error,
      .push_range = [](const char*) {},
      .pop_range = [] {},
  };
  return table;
}

}  // namespace engine::kernels::emulator
