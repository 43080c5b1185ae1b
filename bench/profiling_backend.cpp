#include "bench/profiling_backend.h"

#include <sstream>
#include <utility>

#include "engine/error.h"
#include "engine/ops/images.h"

namespace engine::bench {
namespace {

std::string from_to(const Tensor& x, const Tensor& y) {
  return image_text(x) + " -> " + image_text(y);
}

}  // namespace

std::string image_text(const Tensor& x) {
  std::ostringstream text;
  for (int axis = 1; axis < x.shape().rank(); ++axis) text << (axis > 1 ? "x" : "") << x.size(axis);
  return text.str();
}

std::string kind_of(const OpCall& call) {
  return call.direction.empty() ? call.op : call.op + " " + call.direction;
}

ProfilingBackend::ProfilingBackend(Backend& inner, Device device, const std::vector<NamedParameter>& parameters)
    : inner_(inner), device_(device), timeline_(inner.make_timeline()) {
  for (const NamedParameter& parameter : parameters)
    layers_[&parameter.tensor.storage()] = parameter.name.substr(0, parameter.name.rfind('.'));
}

void ProfilingBackend::set_timeline(std::unique_ptr<Timeline> timeline) {
  timeline_ = std::move(timeline);
}

void ProfilingBackend::begin_step() {
  learning_ = calls_.empty();
  changed_ = false;
  count_ = 0;
  last_layer_.clear();
  on_ = true;
  timeline_->mark();
}

TimedStep ProfilingBackend::end_step() {
  timeline_->mark();
  on_ = false;
  const std::vector<double> marks = timeline_->finish();
  if (changed_ || count_ != calls_.size())
    fail(ErrorKind::internal, "the profile of a step on ", device_, ": this step did ", count_,
         " operations that are not the ", calls_.size(), " of the first one; profile steps of one kind only");
  TimedStep step{.seconds = marks.back(), .calls = {}};
  for (size_t i = 0; i < count_; ++i) step.calls.push_back(marks[2 * i + 2] - marks[2 * i + 1]);
  return step;
}

void ProfilingBackend::begin_call(const char* op, OpCall call) {
  call.op = op;
  if (call.layer.empty())
    call.layer = neighbour();
  else
    last_layer_ = call.layer;
  calls_.push_back(std::move(call));
}

template <class Run>
void ProfilingBackend::timed_pass(const char* op, const char* direction, std::initializer_list<const Tensor*> read,
                                  std::initializer_list<const Tensor*> written, const Run& run) {
  timed(
      op,
      [&] {
        const Tensor& first = **read.begin();
        return OpCall{.layer = {},
                      .op = {},
                      .direction = direction,
                      .shape = first.shape().rank() > 1 ? image_text(first) : to_string(first.shape()),
                      .dtype = first.dtype(),
                      .cost = pass_cost(read, written),
                      .convolution = {}};
      },
      run);
}

std::string ProfilingBackend::layer_of(const Tensor& parameter) const {
  const auto known = layers_.find(&parameter.storage());
  return known != layers_.end() ? known->second : std::string();
}

std::string ProfilingBackend::neighbour() const {
  return last_layer_.empty() ? "input" : "after " + last_layer_;
}

// --- memory: not timed, but for copies ---

void* ProfilingBackend::allocate(size_t bytes) {
  return inner_.allocate(bytes);
}
void ProfilingBackend::release(void* data, size_t bytes) noexcept {
  inner_.release(data, bytes);
}
MemoryStats ProfilingBackend::memory_stats() const {
  return inner_.memory_stats();
}
void ProfilingBackend::reset_peak_memory() {
  inner_.reset_peak_memory();
}
void ProfilingBackend::upload(void* device, const void* host, size_t bytes) {
  const double size = static_cast<double>(bytes);
  timed(
      "upload",
      [&] {
        return OpCall{.shape = std::to_string(bytes) + " bytes", .cost = {0, size, size}};
      },
      [&] { inner_.upload(device, host, bytes); });
}
void ProfilingBackend::download(void* host, const void* device, size_t bytes) {
  const double size = static_cast<double>(bytes);
  timed(
      "download",
      [&] {
        return OpCall{.shape = std::to_string(bytes) + " bytes", .cost = {0, size, size}};
      },
      [&] { inner_.download(host, device, bytes); });
}
void ProfilingBackend::synchronize() {
  inner_.synchronize();
}
std::string ProfilingBackend::description() const {
  return inner_.description();
}
Layout ProfilingBackend::activation_layout(const Shape& shape, DType dtype) const {
  return inner_.activation_layout(shape, dtype);
}

// --- elementwise ---

void ProfilingBackend::convert(const Tensor& x, const Tensor& y) {
  timed_pass("convert", "", {&x}, {&y}, [&] { inner_.convert(x, y); });
}
void ProfilingBackend::fill(const Tensor& y, double value) {
  timed(
      "fill", [&] { return OpCall{.shape = to_string(y.shape()), .dtype = y.dtype(), .cost = pass_cost({}, {&y})}; },
      [&] { inner_.fill(y, value); });
}
void ProfilingBackend::unary(UnaryOp op, const Tensor& x, const Tensor& y) {
  timed_pass("unary", "", {&x}, {&y}, [&] { inner_.unary(op, x, y); });
}
void ProfilingBackend::binary(BinaryOp op, const Tensor& a, const Tensor& b, const Tensor& y) {
  timed_pass(op == BinaryOp::add ? "add" : "binary", "", {&a, &b}, {&y}, [&] { inner_.binary(op, a, b, y); });
}
void ProfilingBackend::affine(const Tensor& x, float scale, float shift, const Tensor& y) {
  timed_pass("affine", "", {&x}, {&y}, [&] { inner_.affine(x, scale, shift, y); });
}
void ProfilingBackend::sum(const Tensor& x, const Tensor& y) {
  timed_pass("sum", "", {&x}, {&y}, [&] { inner_.sum(x, y); });
}
void ProfilingBackend::add_relu(const Tensor& a, const Tensor& b, const Tensor& y) {
  timed_pass("add_relu", "forward", {&a, &b}, {&y}, [&] { inner_.add_relu(a, b, y); });
}
void ProfilingBackend::relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) {
  timed_pass("relu", "backward", {&dy, &y}, {&dx}, [&] { inner_.relu_backward(dy, y, dx); });
}
void ProfilingBackend::normalize_images(const Tensor& x, std::span<const float> mean, std::span<const float> std,
                                        const ImageChoices& choices, const Tensor& y) {
  timed_pass("normalize_images", "", {&x}, {&y}, [&] { inner_.normalize_images(x, mean, std, choices, y); });
}
void ProfilingBackend::mixed_targets(const Tensor& labels, const Tensor& mix, const Tensor& targets) {
  timed_pass("mixed_targets", "", {&labels}, {&targets}, [&] { inner_.mixed_targets(labels, mix, targets); });
}
void ProfilingBackend::subsample_pad(const Tensor& x, int64_t stride, int64_t before, const Tensor& y) {
  const auto describe = [&] {
    // It reads only the pixels that it keeps.
    const double kept =
        static_cast<double>(y.numel() / y.size(3) * x.size(3)) * static_cast<double>(size_of(x.dtype()));
    return OpCall{.direction = "forward",
                  .shape = from_to(x, y),
                  .dtype = x.dtype(),
                  .cost = {0, kept, static_cast<double>(y.bytes())}};
  };
  timed("subsample_pad", describe, [&] { inner_.subsample_pad(x, stride, before, y); });
}
void ProfilingBackend::subsample_pad_backward(const Tensor& dy, int64_t stride, int64_t before, const Tensor& dx) {
  const auto describe = [&] {
    const double kept =
        static_cast<double>(dy.numel() / dy.size(3) * dx.size(3)) * static_cast<double>(size_of(dx.dtype()));
    return OpCall{.direction = "backward",
                  .shape = from_to(dy, dx),
                  .dtype = dx.dtype(),
                  .cost = {0, kept, static_cast<double>(dx.bytes())}};
  };
  timed("subsample_pad", describe, [&] { inner_.subsample_pad_backward(dy, stride, before, dx); });
}

// --- pooling ---

void ProfilingBackend::max_pool_forward(const PoolShape& pool, const Tensor& x, const Tensor& y, const Tensor& argmax) {
  timed_pass("max_pool", "forward", {&x}, {&y, &argmax}, [&] { inner_.max_pool_forward(pool, x, y, argmax); });
}
void ProfilingBackend::max_pool_backward(const PoolShape& pool, const Tensor& dy, const Tensor& argmax,
                                         const Tensor& dx) {
  timed_pass("max_pool", "backward", {&dy, &argmax}, {&dx}, [&] { inner_.max_pool_backward(pool, dy, argmax, dx); });
}
void ProfilingBackend::avg_pool_forward(const PoolShape& pool, const Tensor& x, const Tensor& y) {
  timed_pass("avg_pool", "forward", {&x}, {&y}, [&] { inner_.avg_pool_forward(pool, x, y); });
}
void ProfilingBackend::avg_pool_backward(const PoolShape& pool, const Tensor& dy, const Tensor& dx) {
  timed_pass("avg_pool", "backward", {&dy}, {&dx}, [&] { inner_.avg_pool_backward(pool, dy, dx); });
}
void ProfilingBackend::global_avg_pool_forward(const Tensor& x, const Tensor& y) {
  timed_pass("avg_pool", "forward", {&x}, {&y}, [&] { inner_.global_avg_pool_forward(x, y); });
}
void ProfilingBackend::global_avg_pool_backward(const Tensor& dy, const Tensor& dx) {
  timed_pass("avg_pool", "backward", {&dy}, {&dx}, [&] { inner_.global_avg_pool_backward(dy, dx); });
}

// --- head and optimiser ---

void ProfilingBackend::linear_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y) {
  const auto describe = [&] {
    return OpCall{.layer = layer_of(w),
                  .direction = "fprop",
                  .shape = from_to(x, y),
                  .dtype = x.dtype(),
                  .cost = linear_cost(x, w, y)};
  };
  timed("linear", describe, [&] { inner_.linear_forward(x, w, bias, y); });
}

void ProfilingBackend::linear_backward(const Tensor& x, const Tensor& w, const Tensor& dy, const Tensor& dx,
                                       const Tensor& dw, const Tensor& dbias) {
  const auto describe = [&] {
    return OpCall{.layer = layer_of(w),
                  .direction = "backward",
                  .shape = from_to(x, dy),
                  .dtype = x.dtype(),
                  .cost = linear_backward_cost(x, w, dy, dx, dw, dbias)};
  };
  timed("linear", describe, [&] { inner_.linear_backward(x, w, dy, dx, dw, dbias); });
}

void ProfilingBackend::softmax_cross_entropy(const Tensor& logits, const Tensor& target, float label_smoothing,
                                             const Tensor& loss, const Tensor& dlogits) {
  const auto describe = [&] {
    return OpCall{.layer = "loss",
                  .shape = image_text(logits),
                  .dtype = logits.dtype(),
                  .cost = pass_cost({&logits, &target}, {&loss, &dlogits})};
  };
  timed("softmax_cross_entropy", describe,
        [&] { inner_.softmax_cross_entropy(logits, target, label_smoothing, loss, dlogits); });
}

void ProfilingBackend::binary_cross_entropy(const Tensor& logits, const Tensor& target, const BinaryTargets& targets,
                                            const Tensor& loss, const Tensor& dlogits) {
  const auto describe = [&] {
    return OpCall{.layer = "loss",
                  .shape = image_text(logits),
                  .dtype = logits.dtype(),
                  .cost = pass_cost({&logits, &target}, {&loss, &dlogits})};
  };
  timed("binary_cross_entropy", describe, [&] { inner_.binary_cross_entropy(logits, target, targets, loss, dlogits); });
}

void ProfilingBackend::optimizer_step(std::span<const OptimizerParameter> parameters, const OptimizerStep& step) {
  const auto describe = [&] {
    return OpCall{.layer = "optimiser",
                  .shape = std::to_string(parameters.size()) + " tensors",
                  .cost = optimizer_cost(parameters)};
  };
  timed("sgd", describe, [&] { inner_.optimizer_step(parameters, step); });
}

void ProfilingBackend::check_gradients(const GradientCheck& check) {
  const auto describe = [&] {
    OpCall call{.layer = "optimiser", .shape = std::to_string(check.gradients.size()) + " tensors"};
    for (const Tensor& x : check.gradients) call.cost.read += static_cast<double>(x.bytes());
    return call;
  };
  timed("check_gradients", describe, [&] { inner_.check_gradients(check); });
}

void ProfilingBackend::average(std::span<const AveragedTensor> tensors, float decay) {
  const auto describe = [&] {
    OpCall call{.layer = "optimiser", .shape = std::to_string(tensors.size()) + " tensors"};
    for (const AveragedTensor& x : tensors) {
      call.cost.read += 2 * static_cast<double>(x.value.bytes());
      call.cost.written += static_cast<double>(x.value.bytes());
    }
    return call;
  };
  timed("average", describe, [&] { inner_.average(tensors, decay); });
}

void ProfilingBackend::find_non_finite(std::span<const Tensor> tensors, const Tensor& found) {
  const auto describe = [&] {
    OpCall call{.layer = "optimiser", .shape = std::to_string(tensors.size()) + " tensors"};
    for (const Tensor& x : tensors) call.cost.read += static_cast<double>(x.bytes());
    return call;
  };
  timed("find_non_finite", describe, [&] { inner_.find_non_finite(tensors, found); });
}

std::unique_ptr<DeviceRanks> ProfilingBackend::join_ranks(Communicator& ranks, std::string* reason) {
  return inner_.join_ranks(ranks, reason);
}
std::unique_ptr<Timeline> ProfilingBackend::make_timeline() {
  return inner_.make_timeline();
}
std::string ProfilingBackend::export_plans() const {
  return inner_.export_plans();
}
void ProfilingBackend::import_plans(const std::string& json) {
  inner_.import_plans(json);
}
void ProfilingBackend::set_deterministic(bool on) {
  inner_.set_deterministic(on);
}
void ProfilingBackend::force_implementation(const std::string& name) {
  inner_.force_implementation(name);
}

}  // namespace engine::bench
