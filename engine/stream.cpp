#include "engine/stream.h"

#include "engine/backend.h"

namespace engine {

kernels::Stream stream_of(Device device) {
  return backend(device).stream();
}

void check_launch(const char* operation, Device device, bool launched) {
  backend(device).check_launch(operation, launched);
}

void order_streams(Device device, kernels::Stream first, kernels::Stream then) {
  backend(device).order_streams(first, then);
}

}  // namespace engine
