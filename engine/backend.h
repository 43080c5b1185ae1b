#pragma once
// The one table of operations that a device implements. Private to the engine: users call engine/ops.
//
// Contract for every entry: shapes, dtypes and devices were checked by the op (engine/ops); outputs are allocated by
// the op; nothing here throws for a user's mistake. Activations come in nhwc or, if this backend's activation_layout()
// asked for it, in that layout; all activations of one call have the same layout unless said otherwise. Parameters
// (filters [K,R,S,C/groups], gamma, beta, statistics, linear weights [K,C]) and their gradients are always f32 in
// row-major order, whatever the dtype of the activations: they are rounded to that dtype on the way into a matrix
// product, sums are f32. "may alias": input and output may be the same storage. Optional tensors are passed undefined.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/storage.h"
#include "engine/tensor.h"
#include "kernels/optimizer_rule.h"
#include "kernels/types.h"

namespace engine {

using kernels::Conv2dShape;
using kernels::OptimizerKind;
using kernels::OptimizerRule;
struct ImageChoices;  // engine/ops/images.h

class Communicator;

struct PoolShape {  // x [N,H,W,C] -> y [N,P,Q,C], square window and stride, symmetric padding
  int64_t window = 1, stride = 1, padding = 0;
};

enum class UnaryOp : uint8_t { relu, sigmoid, exp, log, negate };
enum class BinaryOp : uint8_t { add, subtract, multiply, divide };

struct BatchNormForward {
  Tensor x;            // [N,H,W,C]
  Tensor gamma, beta;  // [C]
  Tensor residual;     // optional, like x: added before the ReLU
  bool relu = false;
  bool training = true;  // false: normalises with the running statistics, which stay as they are
  float momentum = 0.1f, eps = 1e-5f;
  Tensor running_mean,
      running_var;    // [C], updated: (1-momentum)*old + momentum*batch; var unbiased (PyTorch's BatchNorm2d)
  Tensor mean_shift;  // optional [C]: added to the batch mean before it enters running_mean (a folded conv bias)
  Tensor y;           // out, like x; may alias residual
  Tensor mean, rstd;  // out [C]: the mean used and 1/sqrt(var + eps), var biased
};

struct BatchNormBackward {
  Tensor dy;  // [N,H,W,C]
  Tensor y;   // the forward result if it had a ReLU, else undefined: the gradient passes where y > 0
  Tensor x;   // the forward input
  Tensor gamma, mean, rstd;
  bool training = true;  // false: mean and rstd are constants, dx = dy * gamma * rstd
  Tensor dx;             // out; may alias x or dy
  Tensor dgamma, dbeta;  // out [C], overwritten
  Tensor dresidual;      // out, optional, like dy: dy behind the ReLU; may alias dy (then dx may not)
};

// A convolution whose result `norm` normalises by its statistics: norm.x gets that result. Which other members of
// `norm` count is said where it is taken.
struct ConvBatchNorm {
  Conv2dShape shape;
  Tensor x, w;
  BatchNormForward norm;
};

struct ConvInference {  // y = act(conv(x, w) * scale + shift + residual), scale = gamma / sqrt(running_var + eps)
  Conv2dShape shape;
  Tensor x, w, bias;  // bias [K] optional
  Tensor gamma, beta, running_mean, running_var;
  float eps = 1e-5f;
  Tensor residual;  // optional
  bool relu = false;
  Tensor y;
};

// What each class is asked by itself: t = (1-label_smoothing)*target + label_smoothing/K, then 1 or 0 by the threshold.
struct BinaryTargets {
  float label_smoothing = 0;
  std::optional<float> threshold = {};  // t > threshold ? 1 : 0
  bool sum_classes = false;             // the loss of a picture: the sum over its classes, or their mean
};

struct OptimizerParameter {
  Tensor parameter, grad;  // same shape, f32
  Tensor momentum;       // like parameter: m of the rule, -0 before the first step; undefined for sgd and lars without
  Tensor second_moment;  // like parameter: v of the rule, 0 before the first step; adamw and lamb only
  float weight_decay = 0;
};
struct OptimizerStep {
  OptimizerRule rule;  // kernels/optimizer_rule.h
  float lr = 0;
  Tensor steps;  // [] i64, adamw and lamb only: the steps taken; goes up by one
  // Optional, in the device's memory and read there when the step happens: recorded work happens again with other
  // contents.
  Tensor device_lr;   // [] f32, instead of lr
  Tensor grad_scale;  // [] f32: g of the rule is the gradient times this
  Tensor found;       // [] i64 of find_non_finite(): nothing is updated, nor counted, unless it is 0
};

struct AveragedTensor {
  Tensor average, value;  // same shape, f32
};

struct GradientCheck {
  std::span<const Tensor> gradients;  // f32
  Tensor loss;                        // optional, f32: looked at after the gradients, no part of the norm
  Tensor unscale;      // optional, [] f32: what the gradients are to be multiplied by, as after a scaled loss
  float max_norm = 0;  // 0: no clipping
  Tensor found;        // out [] i64 as of find_non_finite(), the loss as the last tensor
  Tensor norm;         // out [] f32: unscale * the Euclidean norm of all gradients together
  Tensor grad_scale;   // out [] f32: unscale * min(1, max_norm / (norm + 1e-6)), for OptimizerStep (PyTorch's
                       // torch.nn.utils.clip_grad_norm_)
};

// Work that is done again and again with the same shapes. What it costs the host to say every operation anew is paid
// twice.
class Recording {
 public:
  virtual ~Recording() = default;
  // The first time calls `work`. The second time calls it again and records what it tells the device to do, which then
  // happens at once; from then on that happens again without `work`, on the same addresses: whatever it reads and
  // writes must be kept. True if `work` was called. It may neither read device memory from the host nor write it; if it
  // cannot be recorded it is called each time, and a fallback is counted.
  virtual bool run(const std::function<void()>& work) = 0;
  // That happening again launches; 0 before it was recorded.
  virtual int64_t num_kernels() const { return 0; }
};

// Points in a device's work, for measuring in place.
class Timeline {
 public:
  virtual ~Timeline() = default;
  virtual void mark() = 0;  // behind everything that the device was told to do so far
  // Waits for the device. The time of every mark in seconds after the first one; the marks are then forgotten.
  virtual std::vector<double> finish() = 0;
};

// The devices of several ranks, joined by a library of their own. Every call is one of all ranks, in the same order.
class DeviceRanks {
 public:
  virtual ~DeviceRanks() = default;
  virtual int size() const = 0;
  // Each tensor (f32, row-major) = its sum over the ranks, the same bits on all. Begins behind what the device was told
  // so far and goes on beside what it is told from now on, until wait(). May be recorded.
  virtual void sum(std::span<const Tensor> tensors) = 0;
  virtual void wait() = 0;  // what the device is told from now on waits for the sums
  // all [size*count] = `mine` of every rank, in the order of the device's work. May be recorded.
  virtual void all_gather(const float* mine, float* all, size_t count) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // --- memory ---
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* data, size_t bytes) noexcept = 0;
  virtual MemoryStats memory_stats() const = 0;
  virtual void reset_peak_memory() = 0;
  virtual void upload(void* device, const void* host, size_t bytes) = 0;
  virtual void download(void* host, const void* device, size_t bytes) = 0;
  virtual void synchronize() = 0;
  virtual std::string description()
      const = 0;  // one line: processor or GPU, instruction set, threads, library versions

  virtual bool native_bf16() const { return true; }  // products of bf16 are faster than those of f32

  // --- layout and elementwise; x and y have the same number of elements ---
  virtual Layout activation_layout(const Shape& shape, DType dtype) const = 0;
  virtual void convert(const Tensor& x, const Tensor& y) = 0;  // any dtype and layout to any; same shape
  virtual void fill(const Tensor& y, double value) = 0;
  virtual void unary(UnaryOp op, const Tensor& x, const Tensor& y) = 0;  // may alias
  virtual void binary(BinaryOp op, const Tensor& a, const Tensor& b,
                      const Tensor& y) = 0;  // may alias; b may have one element
  virtual void affine(const Tensor& x, float scale, float shift,
                      const Tensor& y) = 0;                                      // y = scale*x + shift; may alias
  virtual void sum(const Tensor& x, const Tensor& y) = 0;                        // y [] f32, a fixed order of addition
  virtual void add_relu(const Tensor& a, const Tensor& b, const Tensor& y) = 0;  // may alias
  virtual void relu_backward(const Tensor& dy, const Tensor& y,
                             const Tensor& dx) = 0;  // dx = y > 0 ? dy : 0; may alias
  // x [N,H,W,C] u8 -> y float dtype: (x/255 - mean[c]) / std[c], then erased, then mixed
  virtual void normalize_images(const Tensor& x, std::span<const float> mean, std::span<const float> std,
                                const ImageChoices& choices, const Tensor& y) = 0;
  // labels [N] i64, the bytes of a kernels::ImageMix -> targets [N,K] f32
  virtual void mixed_targets(const Tensor& labels, const Tensor& mix, const Tensor& targets) = 0;
  // y[n,p,q,c] = x[n,p*stride,q*stride,c-before] inside, 0 outside (He et al. 2015, option A). Layouts of x and y may
  // differ.
  virtual void subsample_pad(const Tensor& x, int64_t stride, int64_t before, const Tensor& y) = 0;
  virtual void subsample_pad_backward(const Tensor& dy, int64_t stride, int64_t before, const Tensor& dx) = 0;

  // --- convolution; x and y may have different layouts ---
  virtual void conv_forward(const Conv2dShape& shape, const Tensor& x, const Tensor& w, const Tensor& bias,
                            const Tensor& y) = 0;
  virtual void conv_backward_data(const Conv2dShape& shape, const Tensor& dy, const Tensor& w, const Tensor& dx) = 0;
  // dw and (optional) dbias are overwritten.
  virtual void conv_backward_weights(const Conv2dShape& shape, const Tensor& x, const Tensor& dy, const Tensor& dw,
                                     const Tensor& dbias) = 0;
  virtual void conv_inference(const ConvInference& args) = 0;

  // --- normalisation ---
  virtual void batch_norm_forward(const BatchNormForward& args) = 0;
  virtual void batch_norm_backward(const BatchNormBackward& args) = 0;
  // conv_forward into `args.x`, then batch_norm_forward. A backend that takes the statistics in the convolution's
  // epilogue overrides it.
  virtual void conv_batch_norm_forward(const Conv2dShape& shape, const Tensor& x, const Tensor& w,
                                       const BatchNormForward& args);
  // conv_batch_norm_forward in training, then ReLU and max-pool: norm.y and argmax have the pooled shape, norm.residual
  // is not looked at. What lies between exists only here, where a backend does not know better.
  virtual void conv_batch_norm_pool_forward(const ConvBatchNorm& conv, const PoolShape& pool, const Tensor& argmax);
  // args.dy, args.y and argmax have the pooled shape; dx may alias x. There is no dresidual.
  virtual void batch_norm_pool_backward(const BatchNormBackward& args, const PoolShape& pool, const Tensor& argmax);
  // The end of a block with a projection, in training: y = act(bn(conv(main)) + bn(conv(shortcut))), with y and relu of
  // main.norm; y, relu and residual of shortcut.norm are not looked at, nor is main.norm.residual.
  virtual void conv_batch_norm_join_forward(const ConvBatchNorm& main, const ConvBatchNorm& shortcut);
  // Both have the same dy and y; dx may alias x. There is no dresidual.
  virtual void batch_norm_join_backward(const BatchNormBackward& main, const BatchNormBackward& shortcut);

  // --- pooling ---
  virtual void max_pool_forward(
      const PoolShape& pool, const Tensor& x, const Tensor& y,
      const Tensor& argmax) = 0;  // argmax: u8 like y, optional; position in the window, first maximum wins
  virtual void max_pool_backward(const PoolShape& pool, const Tensor& dy, const Tensor& argmax, const Tensor& dx) = 0;
  virtual void avg_pool_forward(const PoolShape& pool, const Tensor& x, const Tensor& y) = 0;  // padding is 0
  virtual void avg_pool_backward(const PoolShape& pool, const Tensor& dy, const Tensor& dx) = 0;
  virtual void global_avg_pool_forward(const Tensor& x, const Tensor& y) = 0;     // y [N,C], nhwc
  virtual void global_avg_pool_backward(const Tensor& dy, const Tensor& dx) = 0;  // dy [N,C]

  // --- head ---
  virtual void linear_forward(const Tensor& x, const Tensor& w, const Tensor& bias,
                              const Tensor& y) = 0;  // y = x w^T + b; bias optional
  virtual void linear_backward(const Tensor& x, const Tensor& w, const Tensor& dy, const Tensor& dx, const Tensor& dw,
                               const Tensor& dbias) = 0;  // each output optional, overwritten
  // Mean over N of -sum_k t_k log softmax(logits)_k, t = (1-label_smoothing)*target + label_smoothing/K.
  // logits [N,K]; labels [N] i64 or soft targets [N,K] f32; loss [] f32; dlogits (optional) like logits: d loss / d
  // logits.
  virtual void softmax_cross_entropy(const Tensor& logits, const Tensor& target, float label_smoothing,
                                     const Tensor& loss, const Tensor& dlogits) = 0;
  // Mean over N of the sum or mean over K of -t log s(logits) - (1-t) log(1 - s(logits)), s the logistic function; the
  // rest as above.
  virtual void binary_cross_entropy(const Tensor& logits, const Tensor& target, const BinaryTargets& targets,
                                    const Tensor& loss, const Tensor& dlogits) = 0;

  // --- optimiser: all parameters in one call ---
  virtual void optimizer_step(std::span<const OptimizerParameter> parameters, const OptimizerStep& step) = 0;

  // found [] i64 = 0 if these f32 tensors hold neither infinity nor NaN, else n - i, where i is the first of the n
  // tensors that does.
  virtual void find_non_finite(std::span<const Tensor> tensors, const Tensor& found);
  // The same of gradients and loss, with the norm of the gradients in the same pass.
  virtual void check_gradients(const GradientCheck& check) = 0;
  // average = decay * average + (1 - decay) * value for each, all in one call; decay 0 copies.
  virtual void average(std::span<const AveragedTensor> tensors, float decay) = 0;

  // --- several ranks ---
  // Null, on all ranks, if the devices of some cannot be joined: `reason` then says why, and the host has to carry.
  virtual std::unique_ptr<DeviceRanks> join_ranks(Communicator& ranks, std::string* reason);

  // --- the queue of a GPU's work, for kernels that are not the engine's: engine/stream.h ---
  virtual kernels::Stream stream();  // throws Error(usage) where there is none
  virtual void check_launch(const char* operation, bool launched);
  virtual void order_streams(kernels::Stream first, kernels::Stream then);

  // --- recorded work ---
  virtual std::unique_ptr<Recording> make_recording() { return nullptr; }  // null: this device gains nothing from it

  // By the host's clock, unless a backend overrides it because its calls return before the work is done.
  virtual std::unique_ptr<Timeline> make_timeline();

  // --- measured choices of implementations ---
  // The choices made so far as JSON text, and choices to use from now on (a checkpoint stores them: another choice
  // rounds differently). With deterministic(true) choices follow a fixed rule instead of measurements.
  virtual std::string export_plans() const = 0;
  virtual void import_plans(const std::string& json) = 0;
  virtual void set_deterministic(bool on) = 0;
  // f32 products may be computed from operands rounded to TF32, from now on or not (the default). Throws Error(device)
  // for on where the device has no such arithmetic.
  virtual void set_tf32(bool on);
  // "own" or "cudnn" (the vendor's libraries) wherever there is a choice, "" for the faster one. Throws Error(usage)
  // for another name, Error(device) if there is no such implementation here.
  virtual void force_implementation(const std::string& name);
};

// The backend of a device. Throws Error(device) with the reason and the remedy if it is not available.
Backend& backend(Device device);

// While it lives, backend(device) is `instead`: a decorator of the device's own backend that counts or times what an
// unchanged program asks for. It shares the memory of what it decorates, so that tensors may come before it and stay
// after it. One at a time, and nobody else uses the device when it comes and goes.
class SubstituteBackend {
 public:
  SubstituteBackend(Device device, Backend& instead);
  ~SubstituteBackend();
  SubstituteBackend(const SubstituteBackend&) = delete;
  SubstituteBackend& operator=(const SubstituteBackend&) = delete;

 private:
  friend Backend& backend(Device device);
  Device device_;
  Backend& instead_;
};

// Each returns null when that backend is not part of this build or cannot run here; `reason` then says why.
Backend* cpu_backend(std::string* reason);
Backend* cuda_backend(int index, std::string* reason);
Backend* emulated_backend(std::string* reason);

// What --doctor tells of CUDA, its libraries and the emulated device.
struct DeviceFact {
  std::string name;
  std::string text;    // what is there; empty if it cannot be used
  std::string reason;  // why it cannot be used, and what to do
};
std::vector<DeviceFact> describe_cuda();

// An activation in the layout that its device prefers, not initialised.
Tensor make_activation(const Shape& shape, DType dtype, Device device);

}  // namespace engine
