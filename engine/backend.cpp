#include "engine/backend.h"

#include "engine/device.h"
#include "engine/error.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <ostream>

namespace engine {
namespace {

Backend* find(Device device, std::string* reason) {
  switch (device.type) {
    case DeviceType::cpu:
      return cpu_backend(reason);
    case DeviceType::cuda:
      return cuda_backend(device.index, reason);
    case DeviceType::emulated:
      return emulated_backend(reason);
  }
  return nullptr;
}

std::atomic<const SubstituteBackend*> substitute = nullptr;

class HostTimeline final : public Timeline {
 public:
  void mark() override { marks_.push_back(Clock::now()); }
  std::vector<double> finish() override {
    std::vector<double> seconds;
    seconds.reserve(marks_.size());
    for (const Clock::time_point mark : marks_)
      seconds.push_back(std::chrono::duration<double>(mark - marks_.front()).count());
    marks_.clear();
    return seconds;
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::vector<Clock::time_point> marks_;
};

}  // namespace

Backend& backend(Device device) {
  if (const SubstituteBackend* other = substitute.load(std::memory_order_acquire); other && other->device_ == device)
    return other->instead_;
  if (device.type == DeviceType::cpu) {
    static Backend* const cpu = cpu_backend(nullptr);  // by far the most frequent, and always part of the build
    return *cpu;
  }
  std::string reason;
  Backend* found = find(device, &reason);
  if (found == nullptr) fail(ErrorKind::device, device, ": ", reason);
  return *found;
}

SubstituteBackend::SubstituteBackend(Device device, Backend& instead) : device_(device), instead_(instead) {
  substitute.store(this, std::memory_order_release);
}
SubstituteBackend::~SubstituteBackend() {
  substitute.store(nullptr, std::memory_order_release);
}

std::unique_ptr<Timeline> Backend::make_timeline() {
  return std::make_unique<HostTimeline>();
}

bool available(Device device, std::string* reason) {
  return find(device, reason) != nullptr;
}

Device best_device() {
  const Device cuda = {DeviceType::cuda, 0};
  return available(cuda) ? cuda : Device{};
}

DType best_dtype(Device device) {
  return backend(device).native_bf16() ? DType::bf16 : DType::f32;
}

MemoryStats memory_stats(Device device) {
  return backend(device).memory_stats();
}
void reset_peak_memory(Device device) {
  backend(device).reset_peak_memory();
}

std::string to_string(Device device) {
  switch (device.type) {
    case DeviceType::cpu:
      return "cpu";
    case DeviceType::cuda:
      return "cuda:" + std::to_string(device.index);
    case DeviceType::emulated:
      return "emulated";
  }
  return "?";
}

std::ostream& operator<<(std::ostream& out, Device device) {
  return out << to_string(device);
}

kernels::Stream Backend::stream() {
  fail(ErrorKind::usage, "stream_of: ", description(),
       " has no stream, its operations are done when they return; use values() there");
}

// Without streams there is nothing to launch and nothing to order.
void Backend::check_launch(const char*, bool) {
  stream();
}
void Backend::order_streams(kernels::Stream, kernels::Stream) {
  stream();
}

void Backend::set_tf32(bool on) {
  if (on)
    fail(ErrorKind::device, "--precision tf32: ", description(),
         " has no TF32 arithmetic; use --precision fp32, or --device cuda");
}

void Backend::force_implementation(const std::string& name) {
  if (!name.empty()) fail(ErrorKind::device, "--force-impl ", name, ": this device has no such choice; leave it out");
}

// A sum of finite numbers overflows only where a step would be lost anyway.
void Backend::find_non_finite(std::span<const Tensor> tensors, const Tensor& found) {
  auto left = static_cast<int64_t>(tensors.size());
  for (const Tensor& tensor : tensors) {
    const Tensor total = make_tensor({}, DType::f32, tensor.device());
    sum(tensor, total);
    if (!std::isfinite(total.item())) break;
    --left;
  }
  upload(found.raw(), &left, sizeof(left));
}

std::unique_ptr<DeviceRanks> Backend::join_ranks(Communicator&, std::string* reason) {
  *reason = "this device has no library that joins it with others";
  return nullptr;
}

void Backend::conv_batch_norm_forward(const Conv2dShape& shape, const Tensor& x, const Tensor& w,
                                      const BatchNormForward& args) {
  conv_forward(shape, x, w, {}, args.x);
  batch_norm_forward(args);
}

void Backend::conv_batch_norm_pool_forward(const ConvBatchNorm& conv, const PoolShape& pool, const Tensor& argmax) {
  BatchNormForward norm = conv.norm;
  norm.y = make_tensor(norm.x.shape(), norm.x.dtype(), norm.x.device(), layout_of(norm.x));
  norm.residual = {};
  norm.relu = true;
  conv_batch_norm_forward(conv.shape, conv.x, conv.w, norm);
  max_pool_forward(pool, norm.y, conv.norm.y, argmax);
}

// The ReLU let pass what won a window with a value above 0: behind the pool this is the same mask, on fewer pixels.
void Backend::batch_norm_pool_backward(const BatchNormBackward& args, const PoolShape& pool, const Tensor& argmax) {
  const auto like = [](const Tensor& x) { return make_tensor(x.shape(), x.dtype(), x.device(), layout_of(x)); };
  const Tensor masked = like(args.dy);
  BatchNormBackward inner = args;
  inner.y = {};
  inner.dy = like(args.x);
  relu_backward(args.dy, args.y, masked);
  max_pool_backward(pool, masked, argmax, inner.dy);
  batch_norm_backward(inner);
}

void Backend::conv_batch_norm_join_forward(const ConvBatchNorm& main, const ConvBatchNorm& shortcut) {
  BatchNormForward projection = shortcut.norm, joined = main.norm;
  projection.y = joined.residual = main.norm.y;
  projection.residual = {};
  projection.relu = false;
  conv_batch_norm_forward(shortcut.shape, shortcut.x, shortcut.w, projection);
  conv_batch_norm_forward(main.shape, main.x, main.w, joined);
}

void Backend::batch_norm_join_backward(const BatchNormBackward& main, const BatchNormBackward& shortcut) {
  BatchNormBackward joined = main, projection = shortcut;
  joined.dresidual = make_tensor(main.dy.shape(), main.dy.dtype(), main.dy.device(), layout_of(main.dy));
  batch_norm_backward(joined);
  projection.dy = joined.dresidual;
  projection.y = {};
  batch_norm_backward(projection);
}

}  // namespace engine
