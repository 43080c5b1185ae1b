#pragma once
// A library of the system that is opened when it is first needed.
#include <dlfcn.h>

#include <cstdlib>
#include <initializer_list>
#include <string>

#include "kernels/runtime.h"

namespace engine::kernels::cuda {

// What is known of a library once it was looked for; the tables of its functions derive from it.
struct LibraryState {
  std::string problem;  // why it cannot be used; empty if it can
  std::string version;  // "9.19.0"

  // NVIDIA's libraries number themselves 10000 * major + 100 * minor + patch.
  void set_version(size_t number) {
    version =
        std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." + std::to_string(number % 100);
  }
  // load() of a library's public table.
  Status loaded(const char** version_text) const {
    *version_text = version.c_str();
    return problem.empty() ? Status{} : Status{Problem::unsupported, 0, problem.c_str()};
  }
};

class SharedLibrary {
 public:
  // Takes the file that the environment variable names, else the first of `names` that can be opened: in
  // LD_LIBRARY_PATH, where the build found the library (the run path of libengine_cuda.so), in ld.so.conf, or where the
  // toolkit is usually.
  SharedLibrary(const char* variable, std::initializer_list<const char*> names) {
    const char* wanted = std::getenv(variable);
    if (wanted != nullptr && *wanted != '\0') {
      try_open(wanted);
      return;
    }
    for (const char* name : names)
      if (handle_ == nullptr) try_open(name);
  }
  // Never closed: what it allocated may outlive everything here.

  bool is_open() const { return handle_ != nullptr; }
  // Why it is not open, or which function it misses.
  const std::string& problem() const { return problem_; }

  // Fills a pointer to a function of the library; false if it has none of this name.
  template <class Function>
  bool find(const char* name, Function*& function) {
    function = handle_ != nullptr ? reinterpret_cast<Function*>(dlsym(handle_, name)) : nullptr;
    if (function == nullptr && is_open()) problem_ = std::string("it has no function ") + name;
    return function != nullptr;
  }

 private:
  void try_open(const char* name) {
    handle_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    const char* error = handle_ == nullptr ? dlerror() : nullptr;
    if (error != nullptr && problem_.empty()) problem_ = error;
  }

  void* handle_ = nullptr;
  std::string problem_;
};

}  // namespace engine::kernels::cuda
