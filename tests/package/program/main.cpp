// A step of training on the CPU, the same net on the emulated device, and a kernel of this program's own there.
#include <row_norm.h>

#include <cmath>
#include <cstdio>

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
  float row[3] = {2, 3, 6};
  void* data = nullptr;
  if (!device.malloc_device(&data, sizeof row).ok() || !device.copy_to_device(data, row, sizeof row, {}).ok()) return 2;
  auto* const x = static_cast<float*>(data);
  if (!row_norm<kernels::Platform::emulated>(x, x + 2, 1, 2, {})) return 3;
  if (!device.copy_to_host(row, data, sizeof row, {}).ok() || !device.free_device(data).ok()) return 2;
  return std::abs(row[2] - std::sqrt(13.0f)) < 1e-6f ? 0 : 4;
}
