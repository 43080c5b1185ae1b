// Parameters are f32; a matrix product of halves wants them rounded. The copy is made at the first use, and renewed by
// whoever changes the parameter: the optimiser in the same pass over memory, everybody else through the version.
#include <limits>

#include "engine/cuda/backend.h"
#include "engine/cuda/derived.h"

namespace engine::cuda {

const void* CudaBackend::in_type(const Tensor& w, DType dtype) {
  if (dtype == DType::f32) return w.raw();
  Storage& owner = w.storage();
  Derived& derived = Derived::of(owner);
  RoundedCopy* copy = nullptr;
  for (const auto& known : derived.rounded)
    if (known->dtype == dtype) copy = known.get();
  if (copy == nullptr) {
    constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();
    derived.rounded.emplace_back(
        new RoundedCopy{dtype, kNone, Scratch(allocator_, static_cast<size_t>(w.numel()) * 2)});
    copy = derived.rounded.back().get();
  }
  if (copy->version != owner.version()) {
    context_.check_launch(
        "rounding a parameter",
        kernels().convert({.x = w.raw(),
                           .x_type = kernels::ElementType::f32,
                           .y = copy->data.as(),
                           .y_type = dtype == DType::bf16 ? kernels::ElementType::bf16 : kernels::ElementType::f16,
                           .count = w.numel()},
                          stream()));
    copy->version = owner.version();
  }
  return copy->data.as();
}

std::shared_ptr<const InferenceScale> CudaBackend::inference_scale(const ConvInference& args) {
  const std::array<Tensor, 3> sources = {args.beta, args.running_mean, args.running_var};
  Derived& derived = Derived::of(args.gamma.storage());
  const std::array<uint64_t, 4> versions = {args.beta.storage().version(), args.running_mean.storage().version(),
                                            args.running_var.storage().version(), args.gamma.storage().version()};
  const auto& known = derived.inference_scale;
  bool valid = known && known->eps == args.eps && known->versions == versions;
  for (size_t i = 0; i < sources.size() && valid; ++i) valid = known->sources[i].lock() == sources[i].body()->storage;
  if (valid) return known;

  const int64_t channels = args.shape.k;
  const std::shared_ptr<InferenceScale> made(
      new InferenceScale{args.eps,
                         {sources[0].body()->storage, sources[1].body()->storage, sources[2].body()->storage},
                         versions,
                         Scratch(allocator_, static_cast<size_t>(2 * channels) * sizeof(float))});
  const Scratch rstd = scratch(static_cast<size_t>(channels) * sizeof(float));
  context_.check_launch("conv_bn_relu", kernels().batch_norm_finalize({.rows = rows_of(args.y),
                                                                       .channels = channels,
                                                                       .gamma = args.gamma.raw<float>(),
                                                                       .beta = args.beta.raw<float>(),
                                                                       .eps = args.eps,
                                                                       .running_mean = args.running_mean.raw<float>(),
                                                                       .running_var = args.running_var.raw<float>(),
                                                                       .rstd = rstd.as<float>(),
                                                                       .scale = made->data.as<float>(),
                                                                       .shift = made->data.as<float>() + channels},
                                                                      stream()));
  derived.inference_scale = made;
  return made;
}

}  // namespace engine::cuda
