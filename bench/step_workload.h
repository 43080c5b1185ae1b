#pragma once
// The work that step_bench times: one training step or one inference pass of a ResNet on random data that stays in
// memory. Written against the public API only, as a user would.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "models/resnet.h"

namespace engine {
class Recording;
}

namespace engine::bench {

enum class Mode : uint8_t { train, inference };

// How activations are stored, and whether f32 products may round their operands to TF32.
struct Precision {
  DType dtype = DType::f32;
  bool tf32 = false;

  Precision() = default;
  Precision(DType stored, bool rounded = false) : dtype(stored), tf32(rounded) {}
  auto operator<=>(const Precision&) const = default;
};

struct WorkloadOptions {
  std::string model = "resnet50";
  int64_t batch = 32;
  int64_t image_size = 0;  // 0: the model's usual one
  Precision precision;
  Mode mode = Mode::train;
  Device device;
  // 0: one batch of f32 images. Otherwise so many batches of u8 images, another one each step, normalised in the step:
  // what a GPU is given in a training. Numbers that repeat would let it run at a higher clock.
  int64_t rotating_batches = 0;
  // Small, so that hundreds of steps on one batch neither diverge nor learn it by heart (vanishing gradients would
  // become denormal numbers, which are slow).
  float lr = 0.001f;
};

// Seconds of the parts of a step, one by one: on a GPU launched singly, so that they may add up to more than a recorded
// step. In inference all is `forward`.
struct StepParts {
  double forward = 0, backward = 0, optimiser = 0;
};

class Workload {
 public:
  // Throws Error(memory) for images that are larger than the device.
  explicit Workload(const WorkloadOptions& options);
  ~Workload();

  // Training: forward, cross-entropy, backward, SGD with momentum 0.9 and weight decay 1e-4. Inference: evaluation mode
  // without gradients. The images are f32 in the device's memory, and rounding them to bf16 is part of the step, as it
  // is in PyTorch's autocast; or there are rotating batches. On a GPU the whole step is recorded and replayed, as in a
  // training, and may go on after this returns: see finish(). Returns the loss before the step as a tensor, undefined
  // in inference.
  Tensor step();
  void finish();  // waits for the device
  // The loss of the last step's batch in the current mode, without gradients; in training mode it moves the running
  // statistics.
  double loss();

  // The medians of `steps` steps.
  StepParts timed_parts(int steps);
  // That a step launches on a GPU or the emulated device; known once it has been recorded, after two steps.
  std::optional<int64_t> kernels() const;

  int64_t image_size() const { return image_size_; }
  models::ResNet& net() { return net_; }

  // Writes the weights and the batch for the same work in PyTorch: DIR/weights.safetensors (torchvision's names) and
  // DIR/batch.safetensors (images [N,3,H,W] f32, labels [N] i64; rotating: images.I [N,H,W,3] u8 and labels.I).
  void write_exchange(const std::filesystem::path& directory);

 private:
  struct ImageBatch {
    Tensor images, labels;
  };
  ImageBatch random_batch(RandomStream& random) const;
  Tensor input() const;
  void run_once();  // a step, as it is

  WorkloadOptions options_;
  models::ResNet net_;
  int64_t image_size_;
  ImageBatch batch_;  // of the next step, at one address
  std::vector<ImageBatch> rotating_;
  size_t next_ = 0;  // of rotating_
  std::unique_ptr<Sgd> sgd_;
  std::unique_ptr<Recording> recording_;  // null: the device cannot
  Tensor loss_;
};

}  // namespace engine::bench
