#include "engine/cuda/context.h"

namespace engine::cuda {
namespace {

// What the runtime of a thread was switched to last, so that it is asked only when that changes.
struct Current {
  const Runtime* runtime = nullptr;
  int index = -1;
};
thread_local Current current;

}  // namespace

std::string remedy(const Status& status) {
  switch (status.problem) {
    case Problem::out_of_memory:
      return "use a smaller batch or smaller images";
    case Problem::no_code_for_device:
      return "build with -DCMAKE_CUDA_ARCHITECTURES for this GPU, or use --device cpu";
    case Problem::no_driver:
      return "install the NVIDIA driver, or use --device cpu";
    case Problem::old_driver:
      return "update the NVIDIA driver, or use --device cpu";
    case Problem::no_device:
      return "check nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu";
    default:
      return "the device is unusable for this process from now on: run it again, with --resume auto to go on; if it "
             "happens again, see nvidia-smi and dmesg for a hardware fault";
  }
}

Context::Context(const kernels::Module& module, Device device) : module_(module), device_(device) {
  use();
  check("device properties", runtime().device_properties(device.index, &properties_));
  check("creating a stream", runtime().stream_create(&stream_));
}

Context::~Context() {
  (void)runtime().stream_destroy(stream_);
}

void Context::use() const {
  if (current.runtime == module_.runtime && current.index == device_.index) return;
  check("choosing the device", runtime().set_device(device_.index));
  current = {module_.runtime, device_.index};
}

Stream Context::stream() const {
  use();
  return stream_;
}

void Context::synchronize() const {
  check("waiting for the device", runtime().stream_synchronize(stream()));
}

void Context::check(const char* operation, const Status& status) const {
  if (status.ok()) return;
  fail(status.problem == Problem::out_of_memory ? ErrorKind::memory : ErrorKind::device, device_, ": ", operation,
       " failed: ", status.text, " (", runtime().name, " error ", status.code, "); ", remedy(status));
}

void Context::check_launch(const char* operation, bool launched) const {
  if (launched) return;
  check(operation, runtime().last_error());
  fail(ErrorKind::internal, device_, ": no kernel takes the arguments of ", operation,
       "; please report the operation's shapes");
}

}  // namespace engine::cuda
