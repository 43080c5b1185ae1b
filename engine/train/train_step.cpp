#include "engine/train/train_step.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/data/batch_tensors.h"
#include "engine/error.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/loss.h"
#include "engine/storage.h"

namespace engine {
namespace {

constexpr size_t kMaxListed = 8;

[[noreturn]] void fail_diverged(const Dataset& dataset, const Batch& batch, int64_t step, double lr,
                                const std::string& what) {
  std::ostringstream message;
  message << "training: " << what << " in step " << step << " at a learning rate of " << lr << ", samples";
  const size_t listed = std::min(batch.indices.size(), kMaxListed);
  for (size_t i = 0; i < listed; ++i) {
    message << (i == 0 ? " " : ", ") << batch.indices[i] << " (" << dataset.describe(batch.indices[i]) << ")";
  }
  if (listed < batch.indices.size()) message << " and " << batch.indices.size() - listed << " more";
  message
      << "; no parameter was updated: go on from the last checkpoint with a lower --lr, or a longer --lr-warmup-epochs";
  throw Error(ErrorKind::diverged, message.str());
}

// What the training forward pass counts on the host: replayed, it does not pass there.
void count_batch(std::vector<NamedTensor>& buffers) {
  for (NamedTensor& buffer : buffers) {
    if (buffer.tensor.dtype() == DType::i64)
      ++buffer.tensor.mutable_values<int64_t>()[0];
    else
      buffer.tensor.storage().bump_version();  // the running statistics, which the device has changed
  }
}

}  // namespace

TrainStep::TrainStep(const TrainableModel& model, Sgd& sgd, const StepOptions& options)
    : model_(model),
      sgd_(sgd),
      options_(options),
      parameters_(model.module->parameters()),
      can_record_(options.grad_accum_steps == 1 && backend(options.input.device).make_recording() != nullptr) {
  for (NamedTensor& tensor : model.module->state()) {
    const bool trained = std::any_of(parameters_.begin(), parameters_.end(),
                                     [&](const NamedParameter& p) { return p.name == tensor.name; });
    if (!trained) buffers_.push_back(tensor);
  }
}

TrainStep::~TrainStep() = default;

std::pair<Tensor, Tensor> TrainStep::forward_backward(const Batch& batch, double scale) {
  const InputFormat& input = options_.input;
  const Tensor logits = model_.forward(image_tensor(batch, input.normalization, input.tensor()));
  const Tensor loss =
      cross_entropy(logits, label_tensor(batch, input.device), {.label_smoothing = options_.label_smoothing});
  if (scale == 1) {
    loss.backward();
  } else {
    loss.backward(Tensor::scalar(scale, {DType::f32, input.device}));
  }
  return {logits.detach(), loss.detach()};
}

std::pair<Tensor, Tensor> TrainStep::replay(const Batch& batch) {
  const InputFormat& input = options_.input;
  Backend& device = backend(input.device);
  const Batch& shape = recorded_.shape;
  // What is derived from a parameter was not derived again if somebody else changed it.
  if (!recorded_.recording || shape.count != batch.count || shape.height != batch.height ||
      shape.width != batch.width || recorded_.versions != parameter_versions()) {
    recorded_ = {};
    recorded_.recording = device.make_recording();
    recorded_.shape = {.count = batch.count, .height = batch.height, .width = batch.width};
    recorded_.images = Tensor::empty({batch.count, batch.height, batch.width, 3}, {DType::u8, input.device});
    recorded_.labels = Tensor::empty({batch.count}, {DType::i64, input.device});
  }
  device.upload(recorded_.images.raw(), batch.images.data(), batch.images.size());
  device.upload(recorded_.labels.raw(), batch.labels.data(), batch.labels.size() * sizeof(int64_t));
  const bool called = recorded_.recording->run([&] {
    recorded_.logits = recorded_.loss = {};
    recorded_.gradients.clear();
    for (NamedParameter& parameter : parameters_) parameter.tensor.clear_grad();
    const Tensor images =
        normalize_images(recorded_.images, input.normalization.mean, input.normalization.std, input.dtype);
    const Tensor logits = model_.forward(images);
    const Tensor loss = cross_entropy(logits, recorded_.labels, {.label_smoothing = options_.label_smoothing});
    loss.backward();
    recorded_.logits = logits.detach();
    recorded_.loss = loss.detach();
    for (const NamedParameter& parameter : parameters_) recorded_.gradients.push_back(parameter.tensor.grad());
  });
  if (!called) {
    count_batch(buffers_);
    for (size_t i = 0; i < parameters_.size(); ++i) parameters_[i].tensor.set_grad(recorded_.gradients[i]);
  }
  return {recorded_.logits, recorded_.loss};
}

uint64_t TrainStep::parameter_versions() const {
  uint64_t sum = 0;
  for (const NamedParameter& parameter : parameters_) sum += parameter.tensor.storage().version();
  return sum;
}

// The name of the first parameter whose gradient holds an infinity or NaN.
std::string TrainStep::find_non_finite_gradient() {
  Tensors gradients;
  std::vector<std::string> names;
  for (const NamedParameter& parameter : parameters_) {
    if (!parameter.tensor.grad().defined()) continue;
    gradients.push_back(parameter.tensor.grad());
    names.push_back(parameter.name);
  }
  const int64_t first = backend(options_.input.device).first_non_finite(gradients);
  return first < 0 ? std::string() : names[static_cast<size_t>(first)];
}

int64_t TrainStep::largest_batch(const Batch& tried) {
  const Device device = options_.input.device;
  recorded_ = {};
  for (NamedParameter& parameter : parameters_) parameter.tensor.clear_grad();
  // Beside what is in use anyway, a step takes bytes(n) = fixed + n * each, which two sizes tell.
  const MemoryStats before = memory_stats(device);
  double smaller = 0, smaller_bytes = 0, larger = 0, larger_bytes = 0;
  for (int64_t count = tried.count / 2; count >= 1 && smaller == 0; count /= 2) {
    const Batch batch = {.count = count,
                         .height = tried.height,
                         .width = tried.width,
                         .images = std::vector<uint8_t>(static_cast<size_t>(count * tried.height * tried.width * 3)),
                         .labels = std::vector<int64_t>(static_cast<size_t>(count))};
    reset_peak_memory(device);
    try {
      (void)forward_backward(batch, 1);
    } catch (const Error&) {
      continue;  // still too large, or one pixel a channel
    }
    const auto bytes = static_cast<double>(memory_stats(device).peak - before.in_use);
    for (NamedParameter& parameter : parameters_) parameter.tensor.clear_grad();
    (larger == 0 ? larger : smaller) = static_cast<double>(count);
    (larger_bytes == 0 ? larger_bytes : smaller_bytes) = bytes;
  }
  if (larger == 0) return 0;
  const double each = smaller == 0 ? larger_bytes / larger : (larger_bytes - smaller_bytes) / (larger - smaller);
  const double fixed = larger_bytes - larger * each;
  // Not the last quarter: blocks of different sizes leave gaps, above all in a small memory, a recorded step keeps its
  // memory from validation, and the optimiser's momentum may be still to come.
  const double room = 0.75 * (static_cast<double>(before.limit) - static_cast<double>(before.in_use)) - fixed;
  const auto fits = static_cast<int64_t>(room / std::max(each, 1.0));
  return std::clamp(fits, static_cast<int64_t>(larger), tried.count - 1);
}

MetricSums TrainStep::run(Loader& loader, const Dataset& dataset, Batch& batch, int64_t step, double lr) {
  try {
    return run_batches(loader, dataset, batch, step, lr);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::memory || batch.count == 0) throw;
    const int64_t largest = largest_batch(batch);
    if (largest == 0) throw;
    fail(ErrorKind::memory, error.what(), ": about ", largest, " pictures would fit instead of ", batch.count);
  }
}

MetricSums TrainStep::run_batches(Loader& loader, const Dataset& dataset, Batch& batch, int64_t step, double lr) {
  MetricSums sums;
  for (int64_t i = 0; i < options_.grad_accum_steps; ++i) {
    if (!loader.next(batch)) fail(ErrorKind::internal, "training: the data ended before step ", step);
    const auto [logits, loss] =
        can_record_ ? replay(batch) : forward_backward(batch, 1.0 / static_cast<double>(options_.grad_accum_steps));
    const double value = loss.item();
    if (!std::isfinite(value)) {
      fail_diverged(dataset, batch, step, lr, "the loss is " + std::string(std::isnan(value) ? "NaN" : "infinite"));
    }
    sums.add({.loss = value * static_cast<double>(batch.count),
              .correct = count_correct(logits, batch.labels),
              .count = batch.count});
  }
  if (const std::string name = find_non_finite_gradient(); !name.empty()) {
    fail_diverged(dataset, batch, step, lr, "the gradient of " + name + " is not finite");
  }
  sgd_.set_lr(static_cast<float>(lr));
  sgd_.step();
  recorded_.versions = parameter_versions();
  return sums;
}

}  // namespace engine
