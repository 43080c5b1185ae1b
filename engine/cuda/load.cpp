#include "engine/cuda/load.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <sstream>
#include <vector>

#include "engine/cuda/backend.h"
#include "engine/module_file.h"

namespace engine::cuda {
namespace {

constexpr const char* kFile = "libengine_cuda.so";
constexpr int kOldestGpu = 8;  // major compute capability
constexpr const char* kMeanwhile = ", or use --device cpu";

struct Loaded {
  const kernels::Module* module = nullptr;
  std::string path, reason;
};

Loaded open(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* error = dlerror();
    return {.reason = path + " cannot be loaded: " + (error ? error : "no reason given") +
                      "; install the library that it misses, or build libengine_cuda.so again on this system" +
                      kMeanwhile};
  }
  auto* entry = reinterpret_cast<EngineCudaModule*>(dlsym(handle, "engine_cuda_module"));
  const kernels::Module* module = entry ? entry() : nullptr;
  if (module == nullptr || module->abi != kernels::kModuleAbi) {
    std::ostringstream reason;
    reason << path << " belongs to another version of this library (interface "
           << (module ? std::to_string(module->abi) : "unknown") << ", expected " << kernels::kModuleAbi
           << "); build or install both together" << kMeanwhile;
    dlclose(handle);
    return {.reason = reason.str()};
  }
  return {.module = module, .path = path};
}

Loaded find_and_open() {
  std::string searched;
  const std::string path =
      find_module(kFile, "ENGINE_CUDA_MODULE", reinterpret_cast<const void*>(&load_module), &searched);
  if (!path.empty()) return open(path);
  // Also the libraries of $ORIGIN's run path, LD_LIBRARY_PATH and ld.so.conf.
  if (Loaded found = open(kFile); found.module != nullptr) return found;
  return {.reason = std::string(kFile) + " is missing (searched: " + searched +
                    " and the system's library path): build with -DENGINE_CUDA=ON on a system with nvcc, or set "
                    "ENGINE_CUDA_MODULE to the file" +
                    kMeanwhile};
}

const Loaded& loaded() {
  static const Loaded result = find_and_open();
  return result;
}

// Runs the smallest kernel there is: only then is it known that the module holds code for this GPU.
Status try_kernel(const kernels::Module& module) {
  const Runtime& runtime = *module.runtime;
  void* data = nullptr;
  constexpr int64_t kCount = 64;
  if (const Status status = runtime.malloc_device(&data, kCount * sizeof(float)); !status.ok()) return status;
  const bool launched =
      module.kernels->fill({.y = data, .type = kernels::ElementType::f32, .count = kCount, .value = 1}, Stream{});
  Status status = runtime.last_error();
  if (status.ok() && !launched) status = {Problem::other, 0, "the kernel was not launched"};
  if (status.ok()) status = runtime.stream_synchronize(Stream{});
  const Status freed = runtime.free_device(data);
  return status.ok() ? freed : status;
}

// The first driver for any toolkit of this major version (CUDA Toolkit Release Notes, "minor version compatibility").
const char* oldest_driver(int runtime) {
  return runtime >= 13000 ? "580" : "525";
}

}  // namespace

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

bool has_machine_code(std::string_view build, int major, int minor) {
  std::istringstream words{std::string(build.substr(std::min(build.find(", "), build.size())))};
  for (std::string word; words >> word;) {
    const int number = std::atoi(word.c_str());
    const std::string suffix = word.substr(std::min(word.find_first_not_of("0123456789"), word.size()));
    if (number == 0 || suffix.ends_with("-virtual")) continue;
    const bool only_this = suffix.starts_with('a');  // 90a: instructions that no other GPU has
    if (number / 10 == major && (only_this ? number % 10 == minor : number % 10 <= minor)) return true;
  }
  return false;
}

const std::string& module_path() {
  return loaded().path;
}

const kernels::Module* load_module(std::string* reason) {
  if (loaded().module == nullptr && reason != nullptr) *reason = loaded().reason;
  return loaded().module;
}

std::string why_unusable(const kernels::Module& module, int index) {
  const Runtime& runtime = *module.runtime;
  kernels::RuntimeVersions versions;
  (void)runtime.versions(&versions);
  int count = 0;
  const Status counted = runtime.device_count(&count);
  std::ostringstream text;
  if (counted.problem == Problem::no_driver) {
    text << "no NVIDIA driver: this build needs one for CUDA " << version_text(versions.runtime) << "; install "
         << oldest_driver(versions.runtime) << " or newer (nvidia-smi must run)" << kMeanwhile;
    return text.str();
  }
  if (counted.problem == Problem::old_driver) {
    text << "the NVIDIA driver is too old: it supports CUDA " << version_text(versions.driver)
         << ", this build needs CUDA " << version_text(versions.runtime) << "; update the driver to "
         << oldest_driver(versions.runtime) << " or newer" << kMeanwhile;
    return text.str();
  }
  if (counted.problem == Problem::no_device || (counted.ok() && count == 0)) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    text << "no GPU: the driver is there, but shows none to this process; see nvidia-smi";
    if (visible != nullptr) text << ", and unset CUDA_VISIBLE_DEVICES (now \"" << visible << "\")";
    text << kMeanwhile;
    return text.str();
  }
  if (!counted.ok()) {
    text << "counting the GPUs failed: " << counted.text << " (" << runtime.name << " error " << counted.code << "); "
         << "see nvidia-smi and dmesg" << kMeanwhile;
    return text.str();
  }
  if (index < 0 || index >= count) {
    text << "there is no GPU " << index << ", this process sees " << count << " (cuda:0"
         << (count > 1 ? " to cuda:" + std::to_string(count - 1) : "") << "): name one of those" << kMeanwhile;
    return text.str();
  }
  kernels::DeviceProperties gpu;
  Status status = runtime.device_properties(index, &gpu);
  if (status.ok()) status = runtime.set_device(index);
  if (status.ok()) status = try_kernel(module);
  if (status.problem == Problem::no_code_for_device) {
    text << "no kernel for this GPU: " << gpu.name << " has compute capability " << gpu.major << '.' << gpu.minor
         << ", ";
    if (gpu.major < kOldestGpu)
      text << "the kernels need " << kOldestGpu << ".0 or newer: take another GPU" << kMeanwhile;
    else
      text << "libengine_cuda.so was built by " << module.build
           << "; build it with -DCMAKE_CUDA_ARCHITECTURES=" << gpu.major << gpu.minor << kMeanwhile;
  } else if (!status.ok()) {
    text << gpu.name << " does not work: " << status.text << " (" << runtime.name << " error " << status.code
         << "); see nvidia-smi for who uses it, and dmesg for a fault" << kMeanwhile;
  }
  return text.str();
}

}  // namespace engine::cuda

namespace engine {

Backend* cuda_backend(int index, std::string* reason) {
  static std::mutex mutex;
  // Never destroyed: tensors in static storage may outlive any order of destruction.
  static auto& backends = *new std::map<int, cuda::CudaBackend*>;
  const std::lock_guard lock(mutex);
  if (const auto known = backends.find(index); known != backends.end()) return known->second;
  const kernels::Module* module = cuda::load_module(reason);
  if (module == nullptr) return nullptr;
  if (std::string why = cuda::why_unusable(*module, index); !why.empty()) {
    if (reason != nullptr) *reason = std::move(why);
    return nullptr;
  }
  return backends[index] = new cuda::CudaBackend(*module, {DeviceType::cuda, index});
}

std::vector<DeviceFact> describe_cuda() {
  std::vector<DeviceFact> facts;
  DeviceFact gpu = {.name = "cuda"};
  if (Backend* const device = cuda_backend(0, &gpu.reason)) gpu.text = "cuda:0: " + device->description();
  facts.push_back(gpu);
  if (const kernels::Module* const module = cuda::load_module(nullptr)) {
    kernels::RuntimeVersions versions;
    (void)module->runtime->versions(&versions);
    facts.push_back({.name = "cuda module", .text = cuda::module_path() + ", " + module->build});
    facts.push_back({.name = "cuda driver",
                     .text = versions.driver > 0 ? "for CUDA " + cuda::version_text(versions.driver) + ", CUDA " +
                                                       cuda::version_text(versions.runtime) + " is used"
                                                 : "none"});
    const auto library = [&](const char* name, auto* table) {
      const char* version = "";
      const kernels::Status status =
          table != nullptr ? table->load(&version) : kernels::Status{kernels::Problem::other, 0, "not in this build"};
      facts.push_back({.name = name});
      (status.ok() ? facts.back().text : facts.back().reason) =
          status.ok() ? version : std::string(status.text) + "; the engine's own kernels do all the work";
    };
    const kernels::Libraries none, *libraries = module->libraries ? module->libraries : &none;
    library("cudnn", libraries->cudnn);
    library("cublaslt", libraries->cublaslt);
    library("nccl", libraries->nccl);
  }
  DeviceFact emulated = {.name = "emulated"};
  if (Backend* const device = emulated_backend(&emulated.reason))
    emulated.text = device->description() + "; slow, for tests";
  facts.push_back(emulated);
  return facts;
}

}  // namespace engine
