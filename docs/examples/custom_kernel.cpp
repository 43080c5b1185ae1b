// An op whose work is done by a CUDA kernel of one's own (swish.cu), on a GPU or on the emulated device.
#include <engine/engine.h>

#include <cstdio>

#include "swish.h"
using namespace engine;
using kernels::Platform;
using kernels::Stream;

// x * sigmoid(x), x f32 of any shape.
Tensor swish(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), {.device = x.device()});
  launch_kernel("swish", x.device(), [&]<Platform P>(Stream stream) {
    return swish_forward<P>(x.data<float>(), y.mutable_data<float>(), x.numel(), stream);
  });
  return record(y, {x}, [v = x.detach()](const Tensor& dy) {
    Tensor dx = Tensor::empty(v.shape(), {.device = v.device()});
    launch_kernel("swish_backward", v.device(), [&]<Platform P>(Stream stream) {
      return swish_backward<P>(v.data<float>(), dy.data<float>(), dx.mutable_data<float>(), v.numel(), stream);
    });
    return Tensors{dx};
  });
}

int main() {
  const Device emulated = {DeviceType::emulated};
  const Device device = best_device().type == DeviceType::cuda ? best_device() : emulated;
  RandomStream random(/*seed=*/0, 0, 0, purpose::kInitialisation);
  check_gradients([](const Tensors& inputs) { return swish(inputs[0]); }, {normal({7, 33}, random).to(device)});

  // Beside the same of three of the library's operations.
  const Tensor x = normal({1000}, random).to(device);
  const std::vector<float> one_kernel = swish(x).to_vector<float>(), three = (x * sigmoid(x)).to_vector<float>();
  double difference = 0;
  for (size_t i = 0; i < three.size(); ++i)
    difference = std::max(difference, std::abs(double{one_kernel[i]} - three[i]));
  std::printf("%s: one kernel and three differ by %.1e at most\n", to_string(device).c_str(), difference);
  return difference < 1e-6 ? 0 : 1;
}
