// Trains ResNet-50 for one pass over the pictures in train/CLASS/, from the weights in resnet50.safetensors.
#include <engine/engine.h>
#include <models/resnet.h>
using namespace engine;

int main() {
  auto net = models::resnet50({.num_classes = 1000});
  load_safetensors("resnet50.safetensors", net);  // torchvision's names; throws if one is missing, extra or misshapen
  net.to(best_device());
  Sgd sgd(net.parameters(), {.lr = 0.1f, .momentum = 0.9f, .weight_decay = 5e-5f});
  ImageFolder data("train", {.batch_size = 256, .device = net.device(), .dtype = best_dtype(net.device())});
  for (auto& [images, labels] : data) {
    Tensor loss = cross_entropy(net(images), labels);  // images [N,224,224,3], labels [N]
    loss.backward();
    sgd.step();  // uses the gradients, then clears them
  }
  save_safetensors("trained.safetensors", net);
}
