#pragma once
// One device of a module: its runtime, its kernels, the stream that everything runs on, and the sentences for what goes
// wrong.
#include <string>

#include "engine/device.h"
#include "engine/error.h"
#include "kernels/module.h"

namespace engine::cuda {

using kernels::Problem;
using kernels::Runtime;
using kernels::Status;
using kernels::Stream;

class Context {
 public:
  // Makes the stream. Throws Error(device) if the device refuses.
  Context(const kernels::Module& module, Device device);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const kernels::Module& module() const { return module_; }
  const Runtime& runtime() const { return *module_.runtime; }
  const kernels::Kernels& kernels() const { return *module_.kernels; }
  Device device() const { return device_; }
  const kernels::DeviceProperties& properties() const { return properties_; }

  // The stream, with the calling thread switched to this device.
  Stream stream() const;
  void synchronize() const;

  // Throws Error(device or memory) with the operation and what the runtime says, unless `status` is ok.
  void check(const char* operation, const Status& status) const;
  // For the result of a launcher: throws if nothing was launched.
  void check_launch(const char* operation, bool launched) const;

 private:
  void use() const;

  const kernels::Module& module_;
  const Device device_;
  kernels::DeviceProperties properties_;
  Stream stream_ = nullptr;
};

// A named range in a profiler's time line, until the end of the scope.
class Range {
 public:
  Range(const Context& context, const char* name) : runtime_(context.runtime()) { runtime_.push_range(name); }
  ~Range() { runtime_.pop_range(); }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  const Runtime& runtime_;
};

// A sentence's end that says what to do about a problem.
std::string remedy(const Status& status);

}  // namespace engine::cuda
