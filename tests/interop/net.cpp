// The engine's side of tests/interop/run.
//
//   interop_net NAME fresh IMAGES WEIGHTS          initial weights but for the batch norms: run explains them
//   interop_net NAME logits IMAGES WEIGHTS LOGITS  what the net computes with the weights in evaluation mode
//
// All files are safetensors; IMAGES holds "images" [N,3,H,W], LOGITS "logits" [N,K].
#include <cstdio>
#include <exception>
#include <string_view>

#include "engine/autograd.h"
#include "engine/error.h"
#include "engine/nn/weights.h"
#include "models/resnet.h"

namespace {

using namespace engine;

// Batch norms take the statistics of the next batch alone: with those of initial weights activations would grow from
// block to block.
class TakeNextBatch : public ModuleVisitor {
 public:
  void parameter(std::string_view, Tensor&, ParameterKind) override {}
  void buffer(std::string_view, Tensor&) override {}
  void module(std::string_view, Module& child) override {
    if (auto* norm = dynamic_cast<BatchNorm2d*>(&child)) norm->bn.momentum = 1;
    child.visit(*this);
  }
};

Tensor read_images(const char* path) {
  const std::vector<NamedTensor> tensors = read_state(SafetensorsFile::open(path));
  check(tensors.size() == 1, path, " holds ", tensors.size(), " tensors, expected the images");
  return tensors[0].tensor;
}

int run(int argc, char** argv) {
  const std::string_view command = argc > 2 ? argv[2] : "";
  check((command == "fresh" && argc == 5) || (command == "logits" && argc == 6),
        "interop_net NAME fresh IMAGES WEIGHTS | NAME logits IMAGES WEIGHTS LOGITS");
  const NoGrad no_grad;
  const Tensor images = read_images(argv[3]);
  if (command == "fresh") {
    models::ResNet net = models::make_resnet(argv[1]);
    const bool plain = std::string_view(argv[1]).starts_with("plain");
    TakeNextBatch visitor;
    net.visit(visitor);
    for (auto& [name, tensor] : net.state()) {
      if (!name.starts_with("layer") || name.find(".bn") == std::string::npos) continue;
      if (name.ends_with(".weight")) tensor.copy_from(Tensor::full(tensor.shape(), 0.125f));
      if (name.ends_with(".bias") && plain) tensor.copy_from(Tensor::full(tensor.shape(), 0.25f));
    }
    net(images);
    save_safetensors(argv[4], net);
    return 0;
  }
  models::ResNet net = models::make_resnet(argv[1], {.initialize = false});
  load_safetensors(argv[4], net);
  net.eval();
  const HostState logits({{"logits", net(images)}});
  write_safetensors(argv[5], logits.views());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "interop_net: %s\n", error.what());
    return 1;
  }
}
