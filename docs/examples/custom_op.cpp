// An op of one's own: its result, and beside it the gradient.
#include <engine/engine.h>
using namespace engine;

// x * sigmoid(x) (Ramachandran et al. 2017), of any shape, float type and device.
Tensor swish(const Tensor& x) {
  Tensor v = x.detach(), s = sigmoid(v), y = v * s;
  return record(y, {x}, [=](const Tensor& dy) { return Tensors{dy * (s + y * (1 - s))}; });
}

int main() {
  RandomStream random(/*seed=*/0, 0, 0, purpose::kInitialisation);
  Tensor x = normal({4, 5}, random).set_requires_grad(true);
  sum(swish(x)).backward();  // x.grad() is [4,5]

  // Does the tape give what differences of swish() give? Throws if not.
  check_gradients([](const Tensors& inputs) { return swish(inputs[0]); }, {x});
}
