#pragma once
// The table of operations on a GPU, or on the emulator: our own kernels, with the vendor's libraries where they are
// faster. One stream, activations always row-major NHWC in f32, bf16 or f16.
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/cuda/allocator.h"
#include "engine/cuda/context.h"
#include "engine/cuda/plans.h"
#include "engine/cuda/staging.h"

namespace engine {
class StatisticsExchange;
}

namespace engine::cuda {

struct InferenceScale;
class GraphRecording;

// A table that a launch reads in the device's memory.
template <class T>
struct DeviceTable {
  std::vector<T> content;
  std::unique_ptr<Scratch> data;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(const kernels::Module& module, Device device);

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
  Stream stream() override { return context_.stream(); }
  void check_launch(const char* operation, bool launched) override;
  void order_streams(Stream first, Stream then) override;
  std::unique_ptr<Recording> make_recording() override;
  std::unique_ptr<Timeline> make_timeline() override;

  std::string export_plans() const override;
  void import_plans(const std::string& json) override;
  void set_deterministic(bool on) override;
  void set_tf32(bool on) override { tf32_ = on; }
  void force_implementation(const std::string& name) override;

 private:
  friend class GraphRecording;
  const kernels::Kernels& kernels() const { return context_.kernels(); }
  Scratch scratch(size_t bytes) { return {allocator_, bytes}; }
  Scratch scratch_floats(int64_t count) { return scratch(static_cast<size_t>(count) * sizeof(float)); }

  // The filter or matrix in the type of the activations: itself, or a rounded copy that is kept beside it.
  const void* in_type(const Tensor& w, DType dtype);
  // Scale and shift of an inference convolution, kept beside gamma.
  std::shared_ptr<const InferenceScale> inference_scale(const ConvInference& args);
  // A convolution by cuDNN, with its workspace.
  void run_library(const char* op, const LibraryPlan* plan, kernels::LibraryConvolutionData data);
  // A product by cuBLASLt; false if it has no algorithm for it.
  bool run_library(const char* op, kernels::LibraryMatmul product);
  bool tf32_of(kernels::DataType type) const { return tf32_ && type == kernels::DataType::f32; }
  // What is recorded into a graph does not run, so it cannot be measured.
  bool may_measure() const { return !capturing_; }
  void refuse_while_capturing(const char* what) const;
  // `content` in the device's memory: in `table`, made again when it changed, or, in work that is to be recorded, in
  // memory that lives as long as the recording.
  template <class T>
  const T* on_device(DeviceTable<T>& table, std::vector<T> content);
  // Searches these, and leaves the sums of squares of the chunks of the first `num_squared` of them in `squares`, as
  // many as it returns.
  int64_t search(const std::vector<Tensor>& tensors, size_t num_squared, const Tensor& found,
                 std::unique_ptr<Scratch>* squares);
  // mean and M2 of the rows of x, into `partials` of batch_norm_parts().
  void statistics(const Tensor& x, float* partials);
  // With --sync-bn: merges the parts of `rows` rows and puts the result beside those of the other ranks, as one part
  // each. `sums`: of the backward direction.
  kernels::RowParts gather_ranks(StatisticsExchange& exchange, int64_t rows, int64_t channels, float* partials,
                                 const kernels::RowParts& parts, bool sums, float* gathered);
  // What the forward pass multiplies by and adds, scale and shift [2][C], from partial statistics (null in inference).
  void finalize(const BatchNormForward& args, float* partials, const kernels::RowParts& parts, float* factors);
  // The same of a convolution that it runs.
  void convolve(const ConvBatchNorm& conv, float* factors);
  // residual_factors: scale and shift [2][C] of a residual that is normalised in the same pass.
  void normalize(const BatchNormForward& args, const float* factors, const float* residual_factors = nullptr);
  // And of a second branch with the same dy and y, in the same passes.
  void normalize_backward(const BatchNormBackward& args, const BatchNormBackward* second = nullptr);
  // The coefficients a, b, c [3][C] of the backward pass, dgamma and dbeta, from partial sums.
  void finalize_backward(const BatchNormBackward& args, float* partials, const kernels::RowParts& parts,
                         float* coefficients);

  Context context_;
  Allocator allocator_;
  Staging staging_;
  Plans plans_;
  GraphRecording* recorder_ = nullptr;  // whose work is running
  bool tf32_ = false;
  bool capturing_ = false;  // it does not run but becomes a graph

  DeviceTable<kernels::OptimizerChunk> optimizer_chunks_;
  DeviceTable<float> lr_;
  DeviceTable<kernels::FloatChunk> searched_;
  DeviceTable<kernels::AverageChunk> averaged_;
};

// As kernels and this backend's operands spell a type. Throws Error(usage) for an integer type.
kernels::DataType data_type(const char* op, const Tensor& x);

// All but the last axis of x [N,H,W,C] or [N,C].
inline int64_t rows_of(const Tensor& x) {
  const int64_t channels = x.size(x.shape().rank() - 1);
  return channels > 0 ? x.numel() / channels : 0;
}

// `big` is the tensor with the shape of the windows' input.
inline kernels::Pool2dShape pool_shape(const PoolShape& pool, const Tensor& big) {
  return {.n = big.size(0),
          .h = big.size(1),
          .w = big.size(2),
          .c = big.size(3),
          .window = pool.window,
          .stride = pool.stride,
          .padding = pool.padding};
}

template <class T = float>
T* pointer_or_null(const Tensor& x) {
  return x.defined() ? x.raw<T>() : nullptr;
}

}  // namespace engine::cuda
