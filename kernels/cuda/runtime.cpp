// The runtime table on CUDA.
#include "kernels/cuda/runtime.h"

#include <cuda_runtime_api.h>
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace engine::kernels {

struct RuntimeGraph {
  cudaGraphExec_t executable = nullptr;
  int64_t kernels = 0;
};

}  // namespace engine::kernels

namespace engine::kernels::cuda {
namespace {

Problem problem_of(cudaError_t code) {
  switch (code) {
    case cudaSuccess:
      return Problem::none;
    case cudaErrorMemoryAllocation:
      return Problem::out_of_memory;
    case cudaErrorInsufficientDriver: {
      // The same code with an old driver and with none at all.
      int driver = 0;
      return cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0 ? Problem::old_driver : Problem::no_driver;
    }
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
      return Problem::no_device;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorInvalidKernelImage:
      return Problem::no_code_for_device;
    case cudaErrorNotSupported:
      return Problem::unsupported;
    default:
      return Problem::other;
  }
}

Status status_of(cudaError_t code) {
  if (code == cudaSuccess) return {};
  const Status status = {problem_of(code), static_cast<int>(code), cudaGetErrorString(code)};
  (void)cudaGetLastError();  // reported here: it must not be reported again by the next launch
  return status;
}

Status versions(RuntimeVersions* out) {
  *out = {};
  (void)cudaDriverGetVersion(&out->driver);  // leaves 0 without a driver
  return status_of(cudaRuntimeGetVersion(&out->runtime));
}

Status device_count(int* out) {
  *out = 0;
  return status_of(cudaGetDeviceCount(out));
}

Status device_properties(int device, DeviceProperties* out) {
  *out = {};
  cudaDeviceProp properties{};
  const cudaError_t code = cudaGetDeviceProperties(&properties, device);
  if (code != cudaSuccess) return status_of(code);
  std::snprintf(out->name, sizeof out->name, "%s", properties.name);
  char* text = out->uuid;
  text += std::snprintf(text, 5, "GPU-");
  for (size_t i = 0; i < sizeof properties.uuid.bytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *text++ = '-';
    text += std::snprintf(text, 3, "%02x", static_cast<unsigned char>(properties.uuid.bytes[i]));
  }
  out->major = properties.major;
  out->minor = properties.minor;
  out->multiprocessors = properties.multiProcessorCount;
  out->memory = properties.totalGlobalMem;
  out->shared_memory_of_block = properties.sharedMemPerBlockOptin;
  return {};
}

cudaEvent_t event_of(Event event) {
  return reinterpret_cast<cudaEvent_t>(event);
}

int64_t count_kernels(cudaGraph_t graph) {
  size_t count = 0;
  if (cudaGraphGetNodes(graph, nullptr, &count) != cudaSuccess) return 0;
  std::vector<cudaGraphNode_t> nodes(count);
  if (cudaGraphGetNodes(graph, nodes.data(), &count) != cudaSuccess) return 0;
  return std::count_if(nodes.begin(), nodes.end(), [](cudaGraphNode_t node) {
    cudaGraphNodeType type{};
    return cudaGraphNodeGetType(node, &type) == cudaSuccess && type == cudaGraphNodeTypeKernel;
  });
}

Status end_capture(Stream stream, Graph* out) {
  *out = nullptr;
  cudaGraph_t graph = nullptr;
  cudaError_t code = cudaStreamEndCapture(stream, &graph);
  if (code == cudaSuccess && graph == nullptr) code = cudaErrorStreamCaptureInvalidated;
  cudaGraphExec_t executable = nullptr;
  if (code == cudaSuccess) code = cudaGraphInstantiate(&executable, graph, 0);
  if (code == cudaSuccess) *out = new RuntimeGraph{executable, count_kernels(graph)};
  if (graph != nullptr) (void)cudaGraphDestroy(graph);
  return status_of(code);
}

}  // namespace

const Runtime& runtime() {
  static const Runtime table = {
      .name = "CUDA",
      .versions = versions,
      .device_count = device_count,
      .device_properties = device_properties,
      .set_device = [](int device) { return status_of(cudaSetDevice(device)); },
      .memory_info = [](size_t* free, size_t* total) { return status_of(cudaMemGetInfo(free, total)); },
      .malloc_device = [](void** out, size_t bytes) { return status_of(cudaMalloc(out, bytes)); },
      .free_device = [](void* data) { return status_of(cudaFree(data)); },
      .malloc_pinned = [](void** out, size_t bytes) { return status_of(cudaMallocHost(out, bytes)); },
      .free_pinned = [](void* data) { return status_of(cudaFreeHost(data)); },
      .copy_to_device =
          [](void* device, const void* host, size_t bytes, Stream stream) {
            return status_of(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream));
          },
      .copy_to_host =
          [](void* host, const void* device, size_t bytes, Stream stream) {
            return status_of(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream));
          },
      .copy_on_device =
          [](void* to, const void* from, size_t bytes, Stream stream) {
            return status_of(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream));
          },
      .set_bytes = [](void* device, int value, size_t bytes,
                      Stream stream) { return status_of(cudaMemsetAsync(device, value, bytes, stream)); },
      .stream_create = [](Stream* out) { return status_of(cudaStreamCreateWithFlags(out, cudaStreamNonBlocking)); },
      .stream_destroy = [](Stream stream) { return status_of(cudaStreamDestroy(stream)); },
      .stream_synchronize = [](Stream stream) { return status_of(cudaStreamSynchronize(stream)); },
      .stream_wait = [](Stream stream,
                        Event event) { return status_of(cudaStreamWaitEvent(stream, event_of(event), 0)); },
      .event_create = [](Event* out) { return status_of(cudaEventCreate(reinterpret_cast<cudaEvent_t*>(out))); },
      .event_destroy = [](Event event) { return status_of(cudaEventDestroy(event_of(event))); },
      .event_record = [](Event event, Stream stream) { return status_of(cudaEventRecord(event_of(event), stream)); },
      .event_synchronize = [](Event event) { return status_of(cudaEventSynchronize(event_of(event))); },
      .elapsed_ms = [](float* out, Event begin,
                       Event end) { return status_of(cudaEventElapsedTime(out, event_of(begin), event_of(end))); },
      // Of this thread only: the loader's threads may go on with their own work meanwhile.
      .begin_capture =
          [](Stream stream) { return status_of(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal)); },
      .end_capture = end_capture,
      .launch_graph = [](Graph graph, Stream stream) { return status_of(cudaGraphLaunch(graph->executable, stream)); },
      .destroy_graph =
          [](Graph graph) {
            const std::unique_ptr<RuntimeGraph> owned(graph);
            return status_of(cudaGraphExecDestroy(owned->executable));
          },
      .graph_kernels = [](Graph graph) { return graph->kernels; },
      .last_error = [] { return status_of(cudaGetLastError()); },
      .push_range = [](const char* name) { nvtxRangePushA(name); },
      .pop_range = [] { nvtxRangePop(); },
  };
  return table;
}

}  // namespace engine::kernels::cuda
