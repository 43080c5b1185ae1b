#include "engine/train/train_step.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/data/batch_tensors.h"
#include "engine/dist/gradient_exchange.h"
#include "engine/error.h"
#include "engine/ops/images.h"
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

TrainStep::TrainStep(const TrainableModel& model, Optimizer& optimizer, const StepOptions& options)
    : model_(model),
      optimizer_(optimizer),
      options_(options),
      parameters_(model.module->parameters()),
      lr_(Tensor::empty({}, {DType::f32, options.input.device})),
      grad_scale_(Tensor::empty({}, {DType::f32, options.input.device})),
      found_(Tensor::empty({}, {DType::i64, options.input.device})),
      grad_norm_(Tensor::empty({}, {DType::f32, options.input.device})) {
  for (NamedTensor& tensor : model.module->state()) {
    const bool trained = std::any_of(parameters_.begin(), parameters_.end(),
                                     [&](const NamedParameter& p) { return p.name == tensor.name; });
    if (!trained) buffers_.push_back(tensor);
  }
}

TrainStep::~TrainStep() = default;

void TrainStep::prepare(const Batch& batch, bool record) {
  Backend& device = backend(options_.input.device);
  const Batch& shape = prepared_.shape;
  // A recording knows where everything lies, and what is derived from a parameter was not derived again if somebody
  // else changed it.
  if (!prepared_.images.defined() || shape.count != batch.count || shape.height != batch.height ||
      shape.width != batch.width || prepared_.versions != versions()) {
    prepared_ = {};  // its memory first
    prepared_.shape = {.count = batch.count, .height = batch.height, .width = batch.width};
    prepared_.images = Tensor::empty({batch.count, batch.height, batch.width, 3}, {DType::u8, options_.input.device});
    prepared_.labels = Tensor::empty({batch.count}, {DType::i64, options_.input.device});
    if (options_.mixes) prepared_.choices.mix = mix_tensor(options_.input.device);
    if (options_.erases)
      prepared_.choices.erased = Tensor::empty({batch.count, 4}, {DType::i64, options_.input.device});
    if (record) prepared_.batch = device.make_recording();
    if (record && updates_apart()) prepared_.update = device.make_recording();
    prepared_.versions = versions();
  }
  Stopwatch watch;
  device.upload(prepared_.labels.raw(), batch.labels.data(), batch.labels.size() * sizeof(int64_t));
  if (options_.mixes) device.upload(prepared_.choices.mix.raw(), &batch.mix, sizeof(batch.mix));
  if (options_.erases)
    device.upload(prepared_.choices.erased.raw(), batch.erased.data(), batch.erased.size() * sizeof(int64_t));
  device.upload(prepared_.images.raw(), batch.images.data(), batch.images.size());
  times_.copy += watch.lap();
}

void TrainStep::forward_backward(double scale) {
  const InputFormat& input = options_.input;
  prepared_.logits = prepared_.loss = {};
  const Tensor images = normalize_images(prepared_.images, input.normalization.mean, input.normalization.std,
                                         input.dtype, prepared_.choices);
  const Tensor logits = model_.forward(images);
  const Tensor target =
      options_.mixes ? mixed_targets(prepared_.labels, prepared_.choices.mix, model_.num_classes) : prepared_.labels;
  const Tensor loss = compute_loss(options_.loss, logits, target);
  if (scale == 1) {
    loss.backward();
  } else {
    loss.backward(Tensor::scalar(scale, {DType::f32, input.device}));
  }
  prepared_.logits = logits.detach();
  prepared_.loss = loss.detach();
}

// The optimiser, unless the loss or a gradient is not finite, which found_ tells.
void TrainStep::update() {
  Backend& device = backend(options_.input.device);
  Tensors gradients;
  checked_.clear();
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].tensor.grad().defined()) continue;
    gradients.push_back(parameters_[i].tensor.grad());
    checked_.push_back(i);
  }
  device.check_gradients({.gradients = gradients,
                          .loss = updates_apart() ? Tensor{} : prepared_.loss,  // the host has looked at each
                          .max_norm = options_.max_grad_norm,
                          .found = found_,
                          .norm = grad_norm_,
                          .grad_scale = grad_scale_});
  optimizer_.step({.lr = lr_, .grad_scale = grad_scale_, .found = found_});
  if (!prepared_.update) return;
  // The recorded batches add to the same memory. -0, because -0 + g is g to the last bit, which +0 is not for g = -0.
  for (size_t i = 0; i < gradients.size(); ++i) {
    device.fill(gradients[i], -0.0);
    parameters_[checked_[i]].tensor.set_grad(std::move(gradients[i]));
  }
}

// Forward and backward pass, and the update too if it belongs to this batch alone.
void TrainStep::run_batch(const Batch& batch) {
  prepare(batch, options_.record);
  const auto work = [this] {
    if (updates_apart()) return forward_backward(share_of_batch());
    for (NamedParameter& parameter : parameters_) parameter.tensor.clear_grad();
    if (options_.exchange != nullptr) options_.exchange->begin();
    forward_backward(share_of_batch());
    if (options_.exchange != nullptr) exchange();
    update();
  };
  if (!prepared_.batch) return work();
  if (prepared_.batch->run(work)) return;
  count_batch(buffers_);
  if (!updates_apart()) optimizer_.replayed();
}

bool TrainStep::updates_apart() const {
  return options_.grad_accum_steps > 1 || (options_.exchange != nullptr && !options_.exchange->on_device());
}

double TrainStep::share_of_batch() const {
  const int64_t ranks = options_.exchange != nullptr ? options_.exchange->size() : 1;
  return 1.0 / static_cast<double>(options_.grad_accum_steps * ranks);
}

// Gradients of this rank's batches become those of all ranks'. The running statistics become the ranks' mean, so that
// after every step all ranks hold the same network.
void TrainStep::exchange() {
  Tensors gradients, statistics;
  for (const NamedParameter& parameter : parameters_)
    if (parameter.tensor.grad().defined()) gradients.push_back(parameter.tensor.grad());
  for (const NamedTensor& buffer : buffers_)
    if (buffer.tensor.dtype() == DType::f32) statistics.push_back(buffer.tensor);
  options_.exchange->run(gradients, statistics);
}

uint64_t TrainStep::versions() const {
  uint64_t sum = optimizer_.version();
  for (const NamedParameter& parameter : parameters_) sum += parameter.tensor.storage().version();
  return sum;
}

int64_t TrainStep::largest_batch(const Batch& tried) {
  const Device device = options_.input.device;
  prepared_ = {};
  for (NamedParameter& parameter : parameters_) parameter.tensor.clear_grad();
  // Beside what is in use anyway, a step takes bytes(n) = fixed + n * each, which two sizes tell.
  const MemoryStats before = memory_stats(device);
  double smaller = 0, smaller_bytes = 0, larger = 0, larger_bytes = 0;
  for (int64_t count = tried.count / 2; count >= 1 && smaller == 0; count /= 2) {
    const Batch batch = {.count = count,
                         .height = tried.height,
                         .width = tried.width,
                         .images = std::vector<uint8_t>(static_cast<size_t>(count * tried.height * tried.width * 3)),
                         .labels = std::vector<int64_t>(static_cast<size_t>(count)),
                         .erased = std::vector<int64_t>(static_cast<size_t>(options_.erases ? 4 * count : 0))};
    reset_peak_memory(device);
    try {
      prepare(batch, /*record=*/false);
      forward_backward(1);
    } catch (const Error&) {
      continue;  // still too large, or one pixel a channel
    }
    const auto bytes = static_cast<double>(memory_stats(device).peak - before.in_use);
    prepared_ = {};
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
  // Where a call is the computation, its time is the device's.
  double& calls = options_.input.device.type == DeviceType::cuda ? times_.host : times_.device;
  Stopwatch watch;
  optimizer_.set_lr(static_cast<float>(lr));
  const float rate = optimizer_.lr();
  backend(options_.input.device).upload(lr_.raw(), &rate, sizeof(rate));
  for (int64_t i = 0; i < options_.grad_accum_steps; ++i) {
    if (!loader.next(batch)) fail(ErrorKind::internal, "training: the data ended before step ", step);
    times_.data += watch.lap();
    const double copied = times_.copy;
    run_batch(batch);
    calls += watch.lap() - (times_.copy - copied);
    const double value = prepared_.loss.item();
    if (!std::isfinite(value)) {
      fail_diverged(dataset, batch, step, lr, "the loss is " + std::string(std::isnan(value) ? "NaN" : "infinite"));
    }
    sums.add({.loss = value * static_cast<double>(batch.count),
              .correct = count_correct(prepared_.logits, batch.labels),
              .count = batch.count});
    times_.device += watch.lap();
  }
  if (options_.exchange != nullptr) {
    exchange();
    times_.comm += watch.lap();
  }
  if (updates_apart()) {
    if (options_.exchange != nullptr) exchange();
    if (!prepared_.update) {
      update();
    } else if (!prepared_.update->run([this] { update(); })) {
      optimizer_.replayed();
    }
  }
  prepared_.versions = versions();
  calls += watch.lap();
  if (const auto found = static_cast<size_t>(found_.item()); found != 0) {
    const size_t first = checked_.size() + (updates_apart() ? 0 : 1) - found;  // the loss, which is finite, comes last
    fail_diverged(dataset, batch, step, lr, "the gradient of " + parameters_[checked_[first]].name + " is not finite");
  }
  times_.device += watch.lap();
  return sums;
}

}  // namespace engine
