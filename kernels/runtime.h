#pragma once
// The one layer through which host code reaches a GPU: memory, streams, events, graphs, properties. A table of plain
// functions, filled by CUDA's runtime (kernels/cuda/runtime.cpp) and by the emulator (kernels/emulator/runtime.cpp), so
// that everything above it is the same code for both.
//
// Every function acts on the device that set_device() chose for the calling thread. "async": returns before the work
// is done; work on one stream runs in order. Nothing throws.
#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace engine::kernels {

// What a caller must tell apart to say what to do about it.
enum class Problem : uint8_t {
  none,
  out_of_memory,
  no_driver,           // the system has no driver of the device
  old_driver,          // the driver supports an older runtime only
  no_device,           // driver, but no device that this process may use
  no_code_for_device,  // this build holds no machine code for the device
  unsupported,         // this runtime cannot do that
  other
};

struct Status {
  Problem problem = Problem::none;
  int code = 0;           // the runtime's own number
  const char* text = "";  // one line; static storage
  bool ok() const { return problem == Problem::none; }
};

struct DeviceProperties {
  char name[256] = {};
  char uuid[64] = {};  // stable across reboots; "" if the runtime has none
  int major = 0, minor = 0;
  int multiprocessors = 0;
  size_t memory = 0;                  // bytes
  size_t shared_memory_of_block = 0;  // bytes of shared memory that one block may have at most
};

// 13.0 is 13000. The driver's number is the newest runtime that it supports; 0 without a driver.
struct RuntimeVersions {
  int runtime = 0, driver = 0;
};

using Event = struct RuntimeEvent*;
using Graph = struct RuntimeGraph*;  // launched as often as wanted

struct Runtime {
  const char* name;  // "CUDA", "emulator"

  // --- devices ---
  Status (*versions)(RuntimeVersions* out);
  Status (*device_count)(int* out);
  Status (*device_properties)(int device, DeviceProperties* out);
  Status (*set_device)(int device);
  Status (*memory_info)(size_t* free, size_t* total);

  // --- memory; addresses are aligned to 256 bytes, contents are undefined ---
  Status (*malloc_device)(void** out, size_t bytes);
  Status (*free_device)(void* data);  // waits for the device
  Status (*malloc_pinned)(void** out, size_t bytes);
  Status (*free_pinned)(void* data);
  // async with pinned host memory; host memory of another kind is read or written before these return.
  Status (*copy_to_device)(void* device, const void* host, size_t bytes, Stream stream);
  Status (*copy_to_host)(void* host, const void* device, size_t bytes, Stream stream);
  Status (*copy_on_device)(void* to, const void* from, size_t bytes, Stream stream);  // async
  Status (*set_bytes)(void* device, int value, size_t bytes, Stream stream);          // async

  // --- streams and events ---
  Status (*stream_create)(Stream* out);  // not ordered with the default stream
  Status (*stream_destroy)(Stream stream);
  Status (*stream_synchronize)(Stream stream);
  Status (*stream_wait)(Stream stream, Event event);  // async: later work of `stream` waits
  Status (*event_create)(Event* out);
  Status (*event_destroy)(Event event);
  Status (*event_record)(Event event, Stream stream);  // async
  Status (*event_synchronize)(Event event);
  Status (*elapsed_ms)(float* out, Event begin, Event end);  // both have happened

  // --- graphs: what is launched on `stream` between begin and end is not run but recorded, arguments by value ---
  Status (*begin_capture)(Stream stream);
  Status (*end_capture)(Stream stream, Graph* out);    // also ends a capture that failed; *out is then null
  Status (*launch_graph)(Graph graph, Stream stream);  // async
  Status (*destroy_graph)(Graph graph);
  int64_t (*graph_kernels)(Graph graph);  // how many it launches, those of libraries included; copies are none

  // --- the rest ---
  Status (*last_error)();  // of launches on this thread; forgets it
  // Named ranges in a profiler's time line.
  void (*push_range)(const char* name);
  void (*pop_range)();
};

}  // namespace engine::kernels
