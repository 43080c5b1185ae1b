// A block of a ResNet whose last norm multiplies by zero is the identity, forward and backward: docs/resnet.md.
#include <cstdio>

#include "engine/engine.h"
#include "models/resnet.h"
using namespace engine;

int main() {
  models::ResNet net = models::make_resnet("resnet20", {.zero_init_residual = true});
  models::Block& block = net.layers[0][1];  // 16 channels in and out: the shortcut is x itself
  Tensor x = Tensor::full({1, 8, 8, 16}, 0.5).set_requires_grad(true);
  Tensor y = block(x);
  sum(y).backward();
  std::printf("x %g, y %g, dL/dx %g\n", x.detach().values<float>()[0], y.detach().values<float>()[0],
              x.grad().values<float>()[0]);  // x 0.5, y 0.5, dL/dx 1
  return y.detach().values<float>()[0] == 0.5f && x.grad().values<float>()[0] == 1.0f ? 0 : 1;
}
