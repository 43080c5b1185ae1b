#pragma once
// The CPU's table of operations: convolutions and matrix products on oneDNN, everything else in loops of our own.
#include <mutex>
#include <string>

#include "engine/backend.h"
#include "engine/cpu/conv_plan.h"

namespace engine::cpu {

class CpuBackend final : public Backend {
 public:
  void* allocate(size_t bytes) override;
  void release(void* data, size_t bytes) noexcept override;
  MemoryStats memory_stats() const override;
  void reset_peak_memory() override;
  void upload(void* device, const void* host, size_t bytes) override;
  void download(void* host, const void* device, size_t bytes) override;
  void synchronize() override {}
  std::string description() const override;
  bool native_bf16() const override;

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

  std::string export_plans() const override;
  void import_plans(const std::string& json) override;
  void set_deterministic(bool on) override;

 private:
  mutable std::mutex plans_mutex_;
  ConvPlans plans_;
};

// True if this processor multiplies bf16 natively.
bool supports_bf16();

// Throws Error(device) if `dtype` is bf16 and this processor has no instructions for it.
void require_matrix_type(const char* op, DType dtype);

}  // namespace engine::cpu
