#pragma once
// Kernels and libraries of one's own beside the engine's: the queue that a device's operations go through.
//
//   launch_kernel("blur", x.device(), [&]<kernels::Platform P>(kernels::Stream stream) {
//     return blur<P>(x.data<float>(), y.mutable_data<float>(), x.numel(), stream);
//   });
#include "engine/device.h"
#include "engine/error.h"
#include "kernels/platform.h"
#include "kernels/types.h"

namespace engine {

// The stream (CUDA's cudaStream_t) that all operations on a GPU, or on the emulated device, run on, in order. What is
// launched on it runs behind the operations called before and ahead of those called later, and becomes part of a step
// that is being recorded. Memory of a tensor that is dropped goes to later operations of this stream only. The calling
// thread is switched to the device. Throws Error(usage) for the CPU, whose operations are done when they return.
kernels::Stream stream_of(Device device);

// Throws Error(device) with the operation's name if `launched` is false, or if the runtime reports an error.
void check_launch(const char* operation, Device device, bool launched);

// Whatever `then` is told from now on waits for what `first` was told so far; the host does not wait. Streams of that
// device, null being the default one.
void order_streams(Device device, kernels::Stream first, kernels::Stream then);

// Calls launcher.operator()<platform>(stream) for the platform of the device: a launcher from engine_add_kernels()
// (kernels/platform.h), which returns whether it launched. Throws what stream_of() and check_launch() do, and
// Error(device) on a GPU if nvcc has not compiled this program's kernels.
template <class Launcher>
void launch_kernel(const char* operation, Device device, const Launcher& launcher) {
  const kernels::Stream stream = stream_of(device);
  if (device.type == DeviceType::emulated)
    return check_launch(operation, device, launcher.template operator()<kernels::Platform::emulated>(stream));
#ifdef ENGINE_KERNELS_BY_NVCC
  check_launch(operation, device, launcher.template operator()<kernels::Platform::cuda>(stream));
#else
  fail(ErrorKind::device, device, ": ", operation,
       " was compiled for the emulator only; configure the program with nvcc, or use the emulated device");
#endif
}

}  // namespace engine
