#include "kernels/cuda/cudnn_api.h"

#include <cuda_runtime_api.h>
#include <link.h>

#include <cstring>
#include <map>
#include <mutex>

namespace engine::kernels::cuda {
namespace {

// cuDNN opens libcudnn_graph.so and its other parts by name when it needs them, and so may meet those of another
// installation: each can tell.
bool parts_differ(SharedLibrary& library) {
  for (const char* name : {"cudnnGraphVersionCheck", "cudnnOpsVersionCheck", "cudnnCnnVersionCheck"}) {
    cudnnStatus_t (*check)() = nullptr;
    if (library.find(name, check) && check() == CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH) return true;
  }
  return false;
}

// The files of cuDNN in this process.
std::string loaded_files() {
  std::string files;
  const auto add = [](dl_phdr_info* info, size_t, void* out) {
    if (std::strstr(info->dlpi_name, "libcudnn") != nullptr) {
      auto& all = *static_cast<std::string*>(out);
      all += (all.empty() ? "" : ", ") + std::string(info->dlpi_name);
    }
    return 0;
  };
  (void)dl_iterate_phdr(add, &files);
  return files;
}

CudnnApi load() {
  CudnnApi api;
  SharedLibrary library("ENGINE_CUDNN", {"libcudnn.so.9", "/usr/local/cuda/lib64/libcudnn.so.9"});
  const bool complete =
      library.find("cudnnGetVersion", api.get_version) && library.find("cudnnGetErrorString", api.error_string) &&
      library.find("cudnnCreate", api.create) && library.find("cudnnSetStream", api.set_stream) &&
      library.find("cudnnBackendCreateDescriptor", api.create_descriptor) &&
      library.find("cudnnBackendDestroyDescriptor", api.destroy_descriptor) &&
      library.find("cudnnBackendFinalize", api.finalize) &&
      library.find("cudnnBackendSetAttribute", api.set_attribute) &&
      library.find("cudnnBackendGetAttribute", api.get_attribute) && library.find("cudnnBackendExecute", api.execute);
  if (!complete) {
    api.problem = library.problem() + "; install cuDNN 9, or name its file in ENGINE_CUDNN";
    return api;
  }
  api.set_version(api.get_version());
  if (api.get_version() / 10000 != 9)
    api.problem = "this is cuDNN " + api.version + ", version 9 is needed";
  else if (parts_differ(library))
    api.problem = "its parts are of different versions (" + loaded_files() +
                  "): leave one cuDNN in LD_LIBRARY_PATH, or name its libcudnn.so.9 in ENGINE_CUDNN";
  return api;
}

}  // namespace

const CudnnApi& cudnn_api() {
  static const CudnnApi api = load();
  return api;
}

Status status_of(cudnnStatus_t status) {
  if (status == CUDNN_STATUS_SUCCESS) return {};
  // 2xxx: invalid use, 3xxx: not supported, 4xxx: internal, 5xxx: execution.
  const bool unsupported = status >= CUDNN_STATUS_NOT_SUPPORTED && status < CUDNN_STATUS_INTERNAL_ERROR;
  const bool memory =
      status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED || status == CUDNN_STATUS_ALLOC_FAILED;
  return {memory ? Problem::out_of_memory : (unsupported ? Problem::unsupported : Problem::other),
          static_cast<int>(status), cudnn_api().error_string(status)};
}

Status current_handle(cudnnHandle_t* out) {
  static std::mutex mutex;
  static std::map<int, cudnnHandle_t> handles;
  int device = 0;
  if (const cudaError_t code = cudaGetDevice(&device); code != cudaSuccess)
    return {Problem::other, static_cast<int>(code), cudaGetErrorString(code)};
  const std::lock_guard lock(mutex);
  cudnnHandle_t& handle = handles[device];
  if (handle == nullptr) {
    if (const Status status = status_of(cudnn_api().create(&handle)); !status.ok()) return status;
  }
  *out = handle;
  return {};
}

}  // namespace engine::kernels::cuda
