#pragma once
// A device's backend with a clock around every operation. The program that uses it stays as it is: see
// SubstituteBackend in engine/backend.h.
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bench/convolution_case.h"
#include "bench/op_cost.h"
#include "engine/backend.h"
#include "engine/nn/module.h"

namespace engine::bench {

// One operation of a step.
struct OpCall {
  std::string layer;      // "layer1.0.conv1"; without parameters of its own: "after layer1.0.bn2", "loss", "optimiser"
  std::string op;         // "conv", "batch_norm", "add_relu", ...
  std::string direction;  // fprop, dgrad, wgrad, forward, backward; empty: neither
  std::string shape;      // of one image, and what else matters: "56x56x64 -> 28x28x128 3x3/2"
  DType dtype = DType::f32;
  OpCost cost;
  std::optional<ConvolutionCase> convolution;
};

// "conv fprop": what tells the calls of one layer apart.
std::string kind_of(const OpCall& call);

// One step's operations in order, by a timeline's marks.
struct TimedStep {
  double seconds = 0;  // from its begin to its end
  std::vector<double> calls;
};

class ProfilingBackend final : public Backend {
 public:
  // `parameters` name the layers: an operation belongs to the layer whose parameters it is given.
  ProfilingBackend(Backend& inner, Device device, const std::vector<NamedParameter>& parameters);

  // Between the two, operations are timed; otherwise they just happen. Every step has to be made of the same operations
  // as the first one: end_step() throws Error(internal) if it is not.
  void begin_step();
  TimedStep end_step();
  // With another source of time than the device's own.
  void set_timeline(std::unique_ptr<Timeline> timeline);
  const std::vector<OpCall>& calls() const { return calls_; }

  void* allocate(size_t bytes) override;
  void release(void* data, size_t bytes) noexcept override;
  MemoryStats memory_stats() const override;
  void reset_peak_memory() override;
  void upload(void* device, const void* host, size_t bytes) override;
  void download(void* host, const void* device, size_t bytes) override;
  void synchronize() override;
  std::string description() const override;

  Layout activation_layout(const Shape& shape, DType dtype) const override;
  void convert(const Tensor& x, const Tensor& y) override;
  void fill(const Tensor& y, double value) override;
  void unary(UnaryOp op, const Tensor& x, const Tensor& y) override;
  void binary(BinaryOp op, const Tensor& a, const Tensor& b, const Tensor& y) override;
  void affine(const Tensor& x, float scale, float shift, const Tensor& y) override;
  void sum(const Tensor& x, const Tensor& y) override;
  void add_relu(const Tensor& a, const Tensor& b, const Tensor& y) override;
  void relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) override;
  void normalize_images(const Tensor& x, std::span<const float> mean, std::span<const float> std,
                        const ImageChoices& choices, const Tensor& y) override;
  void mixed_targets(const Tensor& labels, const Tensor& mix, const Tensor& targets) override;
  void subsample_pad(const Tensor& x, int64_t stride, int64_t before, const Tensor& y) override;
  void subsample_pad_backward(const Tensor& dy, int64_t stride, int64_t before, const Tensor& dx) override;

  void conv_forward(const Conv2dShape& shape, const Tensor& x, const Tensor& w, const Tensor& bias,
                    const Tensor& y) override;
  void conv_backward_data(const Conv2dShape& shape, const Tensor& dy, const Tensor& w, const Tensor& dx) override;
  void conv_backward_weights(const Conv2dShape& shape, const Tensor& x, const Tensor& dy, const Tensor& dw,
                             const Tensor& dbias) override;
  void conv_inference(const ConvInference& args) override;

  void batch_norm_forward(const BatchNormForward& args) override;
  void batch_norm_backward(const BatchNormBackward& args) override;
  void conv_batch_norm_forward(const Conv2dShape& shape, const Tensor& x, const Tensor& w,
                               const BatchNormForward& args) override;
  void conv_batch_norm_pool_forward(const ConvBatchNorm& conv, const PoolShape& pool, const Tensor& argmax) override;
  void batch_norm_pool_backward(const BatchNormBackward& args, const PoolShape& pool, const Tensor& argmax) override;
  void conv_batch_norm_join_forward(const ConvBatchNorm& main, const ConvBatchNorm& shortcut) override;
  void batch_norm_join_backward(const BatchNormBackward& main, const BatchNormBackward& shortcut) override;

  void max_pool_forward(const PoolShape& pool, const Tensor& x, const Tensor& y, const Tensor& argmax) override;
  void max_pool_backward(const PoolShape& pool, const Tensor& dy, const Tensor& argmax, const Tensor& dx) override;
  void avg_pool_forward(const PoolShape& pool, const Tensor& x, const Tensor& y) override;
  void avg_pool_backward(const PoolShape& pool, const Tensor& dy, const Tensor& dx) override;
  void global_avg_pool_forward(const Tensor& x, const Tensor& y) override;
  void global_avg_pool_backward(const Tensor& dy, const Tensor& dx) override;

  void linear_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y) override;
  void linear_backward(const Tensor& x, const Tensor& w, const Tensor& dy, const Tensor& dx, const Tensor& dw,
                       const Tensor& dbias) override;
  void softmax_cross_entropy(const Tensor& logits, const Tensor& target, float label_smoothing, const Tensor& loss,
                             const Tensor& dlogits) override;
  void binary_cross_entropy(const Tensor& logits, const Tensor& target, const BinaryTargets& targets,
                            const Tensor& loss, const Tensor& dlogits) override;

  void optimizer_step(std::span<const OptimizerParameter> parameters, const OptimizerStep& step) override;
  void check_gradients(const GradientCheck& check) override;
  void average(std::span<const AveragedTensor> tensors, float decay) override;

  void find_non_finite(std::span<const Tensor> tensors, const Tensor& found) override;
  std::unique_ptr<DeviceRanks> join_ranks(Communicator& ranks, std::string* reason) override;
  bool native_bf16() const override { return inner_.native_bf16(); }
  kernels::Stream stream() override { return inner_.stream(); }
  void check_launch(const char* operation, bool launched) override { inner_.check_launch(operation, launched); }
  void order_streams(kernels::Stream first, kernels::Stream then) override { inner_.order_streams(first, then); }
  // None: what is recorded cannot be timed one by one.
  std::unique_ptr<Recording> make_recording() override { return nullptr; }
  std::unique_ptr<Timeline> make_timeline() override;

  std::string export_plans() const override;
  void import_plans(const std::string& json) override;
  void set_deterministic(bool on) override;
  void set_tf32(bool on) override { inner_.set_tf32(on); }
  void force_implementation(const std::string& name) override;

 private:
  // `describe` makes the OpCall, and is asked in the first step only.
  template <class Describe, class Run>
  void timed(const char* op, const Describe& describe, const Run& run);
  // One without parameters, in one pass over its operands.
  template <class Run>
  void timed_pass(const char* op, const char* direction, std::initializer_list<const Tensor*> read,
                  std::initializer_list<const Tensor*> written, const Run& run);
  void begin_call(const char* op, OpCall call);
  bool continues_with(const char* op) const { return count_ < calls_.size() && calls_[count_].op == op; }
  // A forward convolution, whose x is remembered to name the gradient of its filter.
  OpCall conv_forward_call(const Conv2dShape& shape, const Tensor& x, const Tensor& w, const OpCost& cost,
                           ConvolutionCase convolution, const char* with);
  // The CPU does what stands in one entry one after the other, and its times are told apart.
  bool in_parts() const { return device_.type == DeviceType::cpu; }
  std::string layer_of(const Tensor& parameter) const;
  std::string neighbour() const;

  Backend& inner_;
  const Device device_;
  std::map<const Storage*, std::string> layers_;                              // of parameters
  std::map<std::tuple<const Storage*, int64_t, int64_t>, std::string> read_;  // a convolution's x, K and R -> its layer
  std::unique_ptr<Timeline> timeline_;
  std::vector<OpCall> calls_;
  std::string last_layer_;
  size_t count_ = 0;  // of this step's calls
  bool on_ = false, learning_ = true, changed_ = false;
  bool inside_ = false;  // what an operation asks for itself is part of it
};

// "56x56x64" of [N,56,56,64]; "1000" of [N,1000].
std::string image_text(const Tensor& x);

template <class Describe, class Run>
void ProfilingBackend::timed(const char* op, const Describe& describe, const Run& run) {
  if (!on_ || inside_) return run();
  if (learning_)
    begin_call(op, describe());
  else if (!continues_with(op))
    changed_ = true;
  ++count_;
  struct Inside {
    bool& flag;
    explicit Inside(bool& f) : flag(f) { flag = true; }
    ~Inside() { flag = false; }
  };
  timeline_->mark();
  {
    const Inside inside(inside_);
    run();
  }
  timeline_->mark();
}

}  // namespace engine::bench
