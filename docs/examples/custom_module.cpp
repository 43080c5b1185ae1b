// A module of one's own: tensors and other modules, named once in visit().
#include <engine/engine.h>

#include <cstdio>
using namespace engine;

// x + gate * F(x) with a gate that starts at 0 (Bachlechner et al. 2020, "ReZero is all you need").
class GatedBlock : public Module {
 public:
  GatedBlock(int64_t channels, RandomStream& random)
      : conv_({.in_channels = channels, .out_channels = channels, .kernel = 3, .padding = 1}, random),
        norm_(channels),
        gate_(Tensor::zeros({1}).set_requires_grad(true)) {}

  Tensor operator()(const Tensor& x) {
    return x + conv_bn_relu(x, conv_, norm_) * gate_.to(x.dtype());  // the gate stays f32, whatever x is
  }

  void visit(ModuleVisitor& visitor) override {
    visitor.module("conv", conv_);
    visitor.module("norm", norm_);
    visitor.parameter("gate", gate_, ParameterKind::norm);  // decays as gamma and beta do
  }

 private:
  Conv2d conv_;
  BatchNorm2d norm_;
  Tensor gate_;
};

// images [N,H,W,3] -> logits [N,num_classes]
class GatedNet : public Module {
 public:
  GatedNet(int depth, int64_t num_classes, RandomStream& random)
      : stem_({.in_channels = 3, .out_channels = 16, .kernel = 3, .padding = 1}, random),
        head_(16, num_classes, random) {
    for (int i = 0; i < depth; ++i) blocks_.emplace_back(16, random);
  }

  Tensor operator()(const Tensor& images) {
    Tensor x = stem_(images);
    for (GatedBlock& block : blocks_) x = block(x);
    return head_(global_avg_pool(x));
  }

  void visit(ModuleVisitor& visitor) override {
    visitor.module("stem", stem_);
    for (size_t i = 0; i < blocks_.size(); ++i) visitor.module("blocks." + std::to_string(i), blocks_[i]);
    visitor.module("head", head_);
  }

 private:
  Conv2d stem_;
  std::vector<GatedBlock> blocks_;
  Linear head_;
};

int main() {
  RandomStream random(/*seed=*/0, 0, 0, purpose::kInitialisation);
  GatedNet net(/*depth=*/3, /*num_classes=*/10, random);
  Tensor images = normal({8, 32, 32, 3}, random),
         labels = Tensor::from(std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}, {8});

  // Parameters, devices, training mode, optimisers and files all follow from visit().
  AdamW adamw(net.parameters(), {.lr = 1e-2f});
  for (int step = 0; step < 5; ++step) {
    Tensor loss = cross_entropy(net(images), labels);
    std::printf("step %d: loss %.3f\n", step, loss.item());
    loss.backward();
    adamw.step();
  }
  save_safetensors("gated.safetensors", net);

  GatedNet again(3, 10, random);
  load_safetensors("gated.safetensors", again);
  net.eval();
  again.eval();
  return net(images).to_vector<float>() == again(images).to_vector<float>() ? 0 : 1;
}
