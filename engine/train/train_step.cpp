#include "engine/train/train_step.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <utility>

#include "engine/autograd.h"
#include "engine/backend.h"
#include "engine/data/batch_tensors.h"
#include "engine/dist/gradient_exchange.h"
#include "engine/error.h"
#include "engine/ops/images.h"
#include "engine/storage.h"
#include "engine/train/layer_report.h"

namespace engine {
namespace {

constexpr size_t kMaxListed = 8;

std::string list_samples(const Dataset& dataset, const Batch& batch) {
  std::ostringstream text;
  const size_t listed = std::min(batch.indices.size(), kMaxListed);
  for (size_t i = 0; i < listed; ++i) {
    text << (i == 0 ? " " : ", ") << batch.indices[i] << " (" << dataset.describe(batch.indices[i]) << ")";
  }
  if (listed < batch.indices.size()) text << " and " << batch.indices.size() - listed << " more";
  return text.str();
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

// Blank pictures of some size.
Batch blank_batch(int64_t count, const Batch& like, bool erases) {
  return {.count = count,
          .height = like.height,
          .width = like.width,
          .images = std::vector<uint8_t>(static_cast<size_t>(count * like.height * like.width * 3)),
          .labels = std::vector<int64_t>(static_cast<size_t>(count)),
          .indices = std::vector<int64_t>(static_cast<size_t>(count)),
          .erased = std::vector<int64_t>(static_cast<size_t>(erases ? 4 * count : 0)),
          .offsets = std::vector<int64_t>(static_cast<size_t>(like.placed() ? 2 * count : 0)),
          .flips = std::vector<uint8_t>(static_cast<size_t>(like.placed() ? count : 0))};
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
  if (options.scale_loss) {
    gradient_of_loss_ = Tensor::empty({}, {DType::f32, options.input.device});
    unscale_ = Tensor::empty({}, {DType::f32, options.input.device});
  }
}

void TrainStep::restore(const LossScale& loss_scale, int64_t left_out) {
  loss_scale_ = loss_scale;
  left_out_ = left_out;
}

TrainStep::~TrainStep() = default;

void TrainStep::prepare(const Batch& batch, bool record) {
  Backend& device = backend(options_.input.device);
  const Batch& shape = prepared_.shape;
  // A recording knows where everything lies, and what is derived from a parameter was not derived again if somebody
  // else changed it.
  if (!prepared_.images.defined() || shape.count != batch.count || shape.height != batch.height ||
      shape.width != batch.width || shape.placed() != batch.placed() || prepared_.versions != versions()) {
    prepared_ = {};  // its memory first
    prepared_.shape = {.count = batch.count, .height = batch.height, .width = batch.width, .offsets = batch.offsets};
    if (batch.placed()) {
      prepared_.images = options_.pictures;
      prepared_.choices.indices = Tensor::empty({batch.count}, {DType::i64, options_.input.device});
      prepared_.choices.offsets = Tensor::empty({batch.count, 2}, {DType::i64, options_.input.device});
      prepared_.choices.flips = Tensor::empty({batch.count}, {DType::u8, options_.input.device});
      prepared_.choices.height = batch.height;
      prepared_.choices.width = batch.width;
    } else {
      prepared_.images = Tensor::empty({batch.count, batch.height, batch.width, 3}, {DType::u8, options_.input.device});
    }
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
  if (batch.placed()) {
    const ImageChoices& choices = prepared_.choices;
    device.upload(choices.indices.raw(), batch.indices.data(), batch.indices.size() * sizeof(int64_t));
    device.upload(choices.offsets.raw(), batch.offsets.data(), batch.offsets.size() * sizeof(int64_t));
    device.upload(choices.flips.raw(), batch.flips.data(), batch.flips.size());
  } else {
    device.upload(prepared_.images.raw(), batch.images.data(), batch.images.size());
  }
  times_.copy += watch.lap();
}

Tensor TrainStep::network_input() const {
  const InputFormat& input = options_.input;
  return normalize_images(prepared_.images, input.normalization.mean, input.normalization.std, input.dtype,
                          prepared_.choices);
}

Tensor TrainStep::target() const {
  return options_.mixes ? mixed_targets(prepared_.labels, prepared_.choices.mix, model_.num_classes) : prepared_.labels;
}

Tensor TrainStep::forward(const Tensor& images) const {
  if (!options_.recompute) return model_.forward(images);
  check(!model_.stages.empty(), "--recompute: ", model_.name, " is not cut into stages; leave it out");
  // The last keeps little.
  Tensor x = images;
  for (size_t i = 0; i + 1 < model_.stages.size(); ++i) x = recompute(model_.stages[i], x);
  return model_.stages.back()(x);
}

void TrainStep::forward_backward() {
  prepared_.logits = prepared_.loss = prepared_.checked_loss = {};
  const Tensor logits = forward(network_input());
  const Tensor loss = compute_loss(options_.loss, logits, target());
  if (options_.scale_loss) {
    loss.backward(gradient_of_loss_);
  } else if (share_of_batch() != 1) {
    loss.backward(Tensor::scalar(share_of_batch(), {DType::f32, options_.input.device}));
  } else {
    loss.backward();
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
                          .loss = prepared_.checked_loss,
                          .unscale = unscale_,
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
    if (updates_apart()) return forward_backward();
    for (NamedParameter& parameter : parameters_) parameter.tensor.clear_grad();
    if (options_.exchange != nullptr) options_.exchange->begin();
    forward_backward();
    prepared_.checked_loss = prepared_.loss;
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
  if (!updates_apart()) {
    // A loss that is infinite with finite gradients on one rank has to stop all.
    prepared_.checked_loss = prepared_.loss.clone();
    gradients.push_back(prepared_.checked_loss);
  }
  options_.exchange->run(gradients, statistics);
}

uint64_t TrainStep::versions() const {
  uint64_t sum = optimizer_.version();
  for (const NamedParameter& parameter : parameters_) sum += parameter.tensor.storage().version();
  return sum;
}

void TrainStep::rehearse(const Batch& shape, int64_t val_count) {
  const Batch batch = blank_batch(shape.count, shape, options_.erases), val = blank_batch(val_count, shape, false);
  keep_buffers();
  upload_controls(0);
  // Done as it is, recorded, done again: each takes its own memory.
  for (int i = 0; i < 3; ++i) {
    run_batch(batch);
    if (!updates_apart()) continue;
    if (!prepared_.update)
      update();
    else if (!prepared_.update->run([this] { update(); }))
      optimizer_.replayed();
    prepared_.versions = versions();
  }
  {
    const NoGrad no_grad;
    model_.module->eval();
    (void)model_.forward(image_tensor(val, options_.input.normalization, options_.input.tensor()));
    model_.module->train();
  }
  (void)found_.item();  // waits for what the device was told to do
  restore_buffers();
}

int64_t TrainStep::largest_batch(const Batch& tried) {
  const Device device = options_.input.device;
  prepared_ = {};
  for (NamedParameter& parameter : parameters_) parameter.tensor.clear_grad();
  // Beside what is in use anyway, a step takes bytes(n) = fixed + n * each, which two sizes tell.
  const MemoryStats before = memory_stats(device);
  double smaller = 0, smaller_bytes = 0, larger = 0, larger_bytes = 0;
  for (int64_t count = tried.count / 2; count >= 1 && smaller == 0; count /= 2) {
    const Batch batch = blank_batch(count, tried, options_.erases);
    reset_peak_memory(device);
    try {
      prepare(batch, /*record=*/false);
      forward_backward();
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

void TrainStep::keep_buffers() {
  if (kept_buffers_.empty())
    for (const NamedTensor& buffer : buffers_)
      kept_buffers_.push_back(Tensor::empty(buffer.tensor.shape(), {buffer.tensor.dtype(), buffer.tensor.device()}));
  for (size_t i = 0; i < buffers_.size(); ++i) kept_buffers_[i].copy_from(buffers_[i].tensor);
}

void TrainStep::restore_buffers() {
  for (size_t i = 0; i < buffers_.size(); ++i) buffers_[i].tensor.copy_from(kept_buffers_[i]);
}

void TrainStep::fill_gradients(double value) {
  for (const NamedParameter& parameter : parameters_)
    if (parameter.tensor.grad().defined()) backend(options_.input.device).fill(parameter.tensor.grad(), value);
}

std::string TrainStep::diagnose(const Batch& batch, int64_t step, const std::string& what) {
  std::string text;
  try {
    prepared_ = {};  // the memory of what was recorded is needed
    prepare(batch, /*record=*/false);
    const Tensor images = network_input();
    const double scale = options_.scale_loss ? loss_scale_.scale : 1;
    const LayerReport report = inspect_layers(model_, options_.loss, images, target(), scale);
    text = report.first_not_finite.empty()
               ? "; computed again by itself, this batch is finite in all layers"
               : "; the first in the network that is not finite is " + report.first_not_finite;
    if (options_.on_diverged)
      text += "; " + options_.on_diverged({.images = images,
                                           .target = target(),
                                           .indices = batch.indices,
                                           .step = step,
                                           .lr = optimizer_.lr(),
                                           .loss_scale = scale,
                                           .reason = what,
                                           .config = {}});
  } catch (const Error& error) {
    text += std::string("; more could not be found out (") + error.what() + ")";
  }
  return text;
}

void TrainStep::diverge(const Dataset& dataset, const Batch& batch, int64_t step, const std::string& what) {
  std::ostringstream message;
  message << "training: " << what << " in step " << step << " at a learning rate of " << optimizer_.lr() << ", samples"
          << list_samples(dataset, batch) << diagnose(batch, step, what)
          << "; no parameter was updated: go on from the last checkpoint with a lower --lr, or a longer "
             "--lr-warmup-epochs";
  throw Error(ErrorKind::diverged, message.str());
}

StepResult TrainStep::run(Loader& loader, const Dataset& dataset, Batch& batch, int64_t step, double lr) {
  try {
    return run_batches(loader, dataset, batch, step, lr);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::memory || batch.count == 0) throw;
    const int64_t largest = largest_batch(batch);
    if (largest == 0) throw;
    fail(ErrorKind::memory, error.what(), ": about ", largest, " pictures would fit instead of ", batch.count,
         "; --auto-batch takes as many and keeps the pictures of a step the same");
  }
}

void TrainStep::upload_controls(double lr) {
  Backend& device = backend(options_.input.device);
  const auto put = [&](const Tensor& to, double value) {
    const auto number = static_cast<float>(value);
    device.upload(to.raw(), &number, sizeof(number));
  };
  optimizer_.set_lr(static_cast<float>(lr));
  put(lr_, optimizer_.lr());
  if (!options_.scale_loss) return;
  put(gradient_of_loss_, loss_scale_.scale * share_of_batch());
  put(unscale_, 1 / loss_scale_.scale);
}

std::string TrainStep::find_fault() {
  const auto found = static_cast<size_t>(found_.item());
  if (found == 0) return "";
  const size_t first = checked_.size() + (updates_apart() ? 0 : 1) - found;
  if (first == checked_.size()) return "the loss is not finite";
  return "the gradient of " + parameters_[checked_[first]].name + " is not finite";
}

StepResult TrainStep::run_batches(Loader& loader, const Dataset& dataset, Batch& batch, int64_t step, double lr) {
  StepResult result;
  const bool alone = options_.exchange == nullptr;  // other ranks wait for this one's gradients, whatever they are
  const bool may_skip = left_out_ < options_.skip_nonfinite;
  // Where a call is the computation, its time is the device's.
  double& calls = options_.input.device.type == DeviceType::cuda ? times_.host : times_.device;
  Stopwatch watch;
  upload_controls(lr);
  if (may_skip) keep_buffers();
  for (int64_t i = 0; i < options_.grad_accum_steps; ++i) {
    if (!loader.next(batch)) fail(ErrorKind::internal, "training: the data ended before step ", step);
    if (alone && !result.left_out.empty()) continue;  // the step's other batches belong to it
    times_.data += watch.lap();
    if (!alone) {
      options_.exchange->meet();
      times_.comm += watch.lap();
    }
    const double copied = times_.copy;
    run_batch(batch);
    calls += watch.lap() - (times_.copy - copied);
    const double value = prepared_.loss.item();
    times_.device += watch.lap();
    if (std::isfinite(value)) {
      result.sums.add({.loss = value * static_cast<double>(batch.count),
                       .correct = count_correct(prepared_.logits, batch.labels),
                       .count = batch.count});
      continue;
    }
    result.left_out = "the loss is " + std::string(std::isnan(value) ? "NaN" : "infinite");
    if (alone && !may_skip) diverge(dataset, batch, step, result.left_out);
  }
  const bool judged = alone && !result.left_out.empty();
  if (judged && updates_apart()) fill_gradients(-0.0);  // for the same reason as in update()
  if (!judged && updates_apart()) {
    if (!alone && !result.left_out.empty()) fill_gradients(std::numeric_limits<double>::quiet_NaN());  // all will see
    if (!alone) {
      exchange();
      times_.comm += watch.lap();
    }
    if (!prepared_.update) {
      update();
    } else if (!prepared_.update->run([this] { update(); })) {
      optimizer_.replayed();
    }
  }
  prepared_.versions = versions();
  calls += watch.lap();
  if (!judged) {
    // The same on every rank.
    const std::string fault = find_fault();
    times_.device += watch.lap();
    if (options_.scale_loss) {
      const LossScale used = loss_scale_;
      loss_scale_ = next_loss_scale(used, fault.empty());
      if (fault.empty()) return result;
      std::ostringstream text;
      text << fault << " with the loss scaled by " << used.scale;
      result.left_out = text.str();
      if (loss_scale_.overflows <= kMaxOverflows) return result;
      const int64_t overflows = std::exchange(loss_scale_, used).overflows;
      diverge(dataset, batch, step, result.left_out + " (" + std::to_string(overflows) + " overflows in a row)");
    }
    if (fault.empty()) return result;
    if (result.left_out.empty()) result.left_out = fault;
    if (!may_skip) diverge(dataset, batch, step, result.left_out);
  }
  ++left_out_;
  restore_buffers();
  return result;
}

}  // namespace engine
