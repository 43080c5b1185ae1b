#pragma once
// A library of the system that is opened when it is first needed.
#include <dlfcn.h>

#include <cstdlib>
#include <initializer_list>
#include <string>

namespace engine::kernels::cuda {

class SharedLibrary {
 public:
  // Takes the file that the environment variable names, else the first of `names` that can be opened: by the system's
  // search path (LD_LIBRARY_PATH, ld.so.conf), or where the toolkit installs itself.
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
