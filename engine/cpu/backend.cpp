#include "engine/cpu/backend.h"

#include <cstring>
#include <fstream>

#include "engine/cpu/allocator.h"
#include "engine/cpu/dnnl.h"
#include "engine/cpu/simd/kernels.h"
#include "engine/cpu/threads.h"
#include "engine/error.h"

namespace engine {

Backend* cpu_backend(std::string*) {
  // Never destroyed: tensors in static storage may outlive any order of destruction.
  static Backend* const instance = new cpu::CpuBackend;
  return instance;
}

namespace cpu {
namespace {

void copy(void* to, const void* from, size_t bytes) {
  const auto count = static_cast<int64_t>(bytes);
  parallel_for(
      count,
      [&](int64_t begin, int64_t end) {
        std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                    static_cast<size_t>(end - begin));
      },
      count > kSerialBytes);
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("model name", 0) == 0 && line.find(": ") != std::string::npos)
      return line.substr(line.find(": ") + 2);
  return "unknown processor";
}

}  // namespace

void* CpuBackend::allocate(size_t bytes) {
  return allocator().allocate(bytes);
}
void CpuBackend::release(void* data, size_t bytes) noexcept {
  allocator().release(data, bytes);
}
MemoryStats CpuBackend::memory_stats() const {
  return allocator().stats();
}
void CpuBackend::reset_peak_memory() {
  allocator().reset_peak();
}

void CpuBackend::upload(void* device, const void* host, size_t bytes) {
  copy(device, host, bytes);
}
void CpuBackend::download(void* host, const void* device, size_t bytes) {
  copy(host, device, bytes);
}

std::string CpuBackend::description() const {
  return processor_name() + ", " + kernels_for_this_cpu().isa + (onednn::has_native_bf16() ? " with bf16" : "") + ", " +
         std::to_string(num_threads()) + (num_threads() == 1 ? " thread" : " threads") + ", oneDNN " +
         onednn::version();
}

Layout CpuBackend::activation_layout(const Shape& shape, DType dtype) const {
  const bool activation = shape.rank() == 4 && (dtype == DType::f32 || dtype == DType::bf16);
  return activation && shape[3] > 0 && shape[3] % 16 == 0 ? Layout::blocked16 : Layout::nhwc;
}

std::string CpuBackend::export_plans() const {
  const std::lock_guard lock(plans_mutex_);
  return plans_.export_json();
}
void CpuBackend::import_plans(const std::string& json) {
  const std::lock_guard lock(plans_mutex_);
  plans_.import_json(json);
}
void CpuBackend::set_deterministic(bool on) {
  const std::lock_guard lock(plans_mutex_);
  plans_.set_deterministic(on);
}

bool CpuBackend::native_bf16() const {
  return onednn::has_native_bf16();
}

bool supports_bf16() {
  return onednn::has_native_bf16();
}

void require_matrix_type(const char* op, DType dtype) {
  check(dtype == DType::f32 || dtype == DType::bf16, op, ": ", dtype,
        " on the cpu, expected f32 or bf16; convert with to(DType::f32)");
  if (dtype == DType::bf16 && !onednn::has_native_bf16())
    fail(ErrorKind::device, op, ": bf16 on a processor with ", kernels_for_this_cpu().isa,
         " and no bf16 instructions, where it would be slower than f32; use f32 (--precision fp32)");
}

}  // namespace cpu
}  // namespace engine
