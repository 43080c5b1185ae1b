#include "engine/cuda/backend.h"

#include <sstream>

#include "engine/cuda/load.h"
#include "engine/error.h"

namespace engine::cuda {

kernels::DataType data_type(const char* op, const Tensor& x) {
  switch (x.dtype()) {
    case DType::f32:
      return kernels::DataType::f32;
    case DType::bf16:
      return kernels::DataType::bf16;
    case DType::f16:
      return kernels::DataType::f16;
    default:
      fail(ErrorKind::usage, op, ": ", x.dtype(), " on ", x.device(),
           ", expected f32, bf16 or f16; convert with to(DType::f32)");
  }
}

CudaBackend::CudaBackend(const kernels::Module& module, Device device)
    : context_(module, device), allocator_(context_), staging_(context_), plans_(context_) {}

void* CudaBackend::allocate(size_t bytes) {
  return allocator_.allocate(bytes);
}
void CudaBackend::release(void* data, size_t) noexcept {
  allocator_.release(data);
}
MemoryStats CudaBackend::memory_stats() const {
  return allocator_.stats();
}
void CudaBackend::reset_peak_memory() {
  allocator_.reset_peak();
}

void CudaBackend::upload(void* device, const void* host, size_t bytes) {
  const Range range(context_, "upload");
  refuse_while_capturing("an upload");
  staging_.upload(device, host, bytes);
}

void CudaBackend::download(void* host, const void* device, size_t bytes) {
  const Range range(context_, "download");
  if (bytes == 0) return;
  refuse_while_capturing("a download");
  context_.check("download", context_.runtime().copy_to_host(host, device, bytes, stream()));
  context_.synchronize();
}

void CudaBackend::refuse_while_capturing(const char* what) const {
  if (capturing_)
    fail(ErrorKind::internal, context_.device(), ": ", what,
         " while a graph is recorded; keep it out of recorded work");
}

void CudaBackend::synchronize() {
  refuse_while_capturing("a synchronisation");
  context_.synchronize();
}

void CudaBackend::check_launch(const char* operation, bool launched) {
  context_.check(operation, context_.runtime().last_error());
  if (!launched)
    fail(ErrorKind::device, context_.device(), ": ", operation,
         " was not launched; check the shape it was asked for, its grid, block and shared memory");
}

void CudaBackend::order_streams(Stream first, Stream then) {
  const Runtime& runtime = context_.runtime();
  stream();  // for the device of this thread
  kernels::Event event = nullptr;
  context_.check("creating an event", runtime.event_create(&event));
  const Status recorded = runtime.event_record(event, first);
  const Status waits = recorded.ok() ? runtime.stream_wait(then, event) : recorded;
  const Status destroyed = runtime.event_destroy(event);
  context_.check("ordering two streams", waits.ok() ? destroyed : waits);
}

std::string CudaBackend::description() const {
  const kernels::DeviceProperties& gpu = context_.properties();
  std::ostringstream text;
  text << gpu.name << ", compute capability " << gpu.major << '.' << gpu.minor << ", " << gpu.multiprocessors
       << " multiprocessors, " << (gpu.memory >> 20) << " MiB";
  kernels::RuntimeVersions versions;
  if (context_.runtime().versions(&versions).ok() && versions.driver > 0)
    text << ", CUDA " << version_text(versions.runtime) << ", driver for CUDA " << version_text(versions.driver) << ", "
         << plans_.library_description();
  if (context_.device().type == DeviceType::cuda && !has_machine_code(context_.module().build, gpu.major, gpu.minor))
    text << ", its kernels compiled from PTX by the driver at the first start (not with -DCMAKE_CUDA_ARCHITECTURES="
         << gpu.major << gpu.minor << ")";
  return text.str();
}

std::string CudaBackend::export_plans() const {
  return plans_.export_json();
}
void CudaBackend::import_plans(const std::string& json) {
  plans_.import_json(json);
}
void CudaBackend::set_deterministic(bool on) {
  plans_.set_deterministic(on);
}
void CudaBackend::force_implementation(const std::string& name) {
  plans_.force(name);
}

Layout CudaBackend::activation_layout(const Shape&, DType) const {
  return Layout::nhwc;
}

}  // namespace engine::cuda
