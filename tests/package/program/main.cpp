// A step of training on the CPU, the same net on the emulated device, and a kernel of this program's own there.
#include <cmath>
#include <cstdio>

#include <scale.h>
#include "engine/dist/communicator.h"
#include "engine/engine.h"
#include "kernels/emulator/runtime.h"
#include "models/resnet.h"

using namespace engine;

int main() {
  models::ResNet net = models::make_resnet("resnet20");
  Sgd sgd(net.parameters(), {.lr = 0.1f});
  const Tensor images = Tensor::full({2, 32, 32, 3}, 0.5), labels = Tensor::zeros({2}, {.dtype = DType::i64});
  const Tensor loss = cross_entropy(net(images), labels);
  loss.backward();
  sgd.step();
  net.eval();
  const float logit = net(images).to_vector<float>()[0];

  const Device emulated{DeviceType::emulated};
  net.to(emulated);
  const float same = net(images.to(emulated)).to_vector<float>()[0];
  std::printf("mpi: %s\n", describe_mpi().c_str());
  std::printf("loss %f, logit %f, emulated %f\n", loss.item(), logit, same);
  if (!std::isfinite(loss.item()) || std::abs(logit - same) > 1e-3f * std::abs(logit)) return 1;

  const kernels::Runtime& device = kernels::emulator::runtime();
  float value = 2;
  void* data = nullptr;
  const bool ok = device.malloc_device(&data, sizeof value).ok() &&
                  device.copy_to_device(data, &value, sizeof value, {}).ok() &&
                  scale<kernels::Platform::emulated>(static_cast<float*>(data), static_cast<float*>(data), 1, 3, {}) &&
                  device.copy_to_host(&value, data, sizeof value, {}).ok() && device.free_device(data).ok();
  return ok && value == 6 ? 0 : 2;
}
