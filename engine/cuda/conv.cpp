// Convolutions: our kernels or cuDNN's (plans.h). The epilogues, which take statistics or apply scale, residual and
// ReLU where the result is in registers still, are our kernels'; with cuDNN some of them are passes of their own.
#include "engine/cuda/backend.h"
#include "engine/cuda/derived.h"

namespace engine::cuda {

using kernels::ConvDirection;

void CudaBackend::run_library(const char* op, const LibraryPlan* plan, kernels::LibraryConvolutionData data) {
  const kernels::ConvolutionLibrary& library = *context_.module().libraries->cudnn;
  const Scratch workspace = scratch(library.workspace(plan));
  data.workspace = workspace.as();
  context_.check(op, library.run(plan, data, stream()));
}

void CudaBackend::conv_forward(const Conv2dShape& shape, const Tensor& x, const Tensor& w, const Tensor& bias,
                               const Tensor& y) {
  const Range range(context_, "conv_forward");
  const kernels::DataType type = data_type("conv2d", x);
  const void* filter = in_type(w, x.dtype());
  const auto run = [&](const LibraryPlan* library) {
    if (library != nullptr)
      return run_library("conv2d", library, {.x = x.raw(), .w = const_cast<void*>(filter), .y = y.raw()});
    context_.check_launch("conv2d", kernels().conv_fprop({.shape = shape,
                                                          .type = type,
                                                          .tf32 = tf32_of(type),
                                                          .x = x.raw(),
                                                          .w = filter,
                                                          .bias = pointer_or_null(bias),
                                                          .y = y.raw()},
                                                         stream()));
  };
  if (bias.defined()) return run(nullptr);
  plans_.run({.shape = shape, .type = type, .tf32 = tf32_of(type), .direction = ConvDirection::forward}, false,
             may_measure(), run);
}

void CudaBackend::conv_backward_data(const Conv2dShape& shape, const Tensor& dy, const Tensor& w, const Tensor& dx) {
  const Range range(context_, "conv_backward_data");
  const kernels::DataType type = data_type("conv2d_backward_data", dy);
  const void* filter = in_type(w, dy.dtype());
  plans_.run(
      {.shape = shape, .type = type, .tf32 = tf32_of(type), .direction = ConvDirection::backward_data}, false,
      may_measure(), [&](const LibraryPlan* library) {
        if (library != nullptr)
          return run_library("conv2d_backward_data", library,
                             {.x = dx.raw(), .w = const_cast<void*>(filter), .y = dy.raw()});
        context_.check_launch(
            "conv2d_backward_data",
            kernels().conv_dgrad(
                {.shape = shape, .type = type, .tf32 = tf32_of(type), .dy = dy.raw(), .w = filter, .dx = dx.raw()},
                stream()));
      });
}

void CudaBackend::conv_backward_weights(const Conv2dShape& shape, const Tensor& x, const Tensor& dy, const Tensor& dw,
                                        const Tensor& dbias) {
  const Range range(context_, "conv_backward_weights");
  const char* op = "conv2d_backward_weights";
  const kernels::DataType type = data_type(op, x);
  const auto run = [&](const LibraryPlan* library) {
    if (library != nullptr) return run_library(op, library, {.x = x.raw(), .w = dw.raw(), .y = dy.raw()});
    const Scratch workspace = scratch(kernels().conv_wgrad_workspace(shape, type));
    context_.check_launch(op, kernels().conv_wgrad({.shape = shape,
                                                    .type = type,
                                                    .tf32 = tf32_of(type),
                                                    .x = x.raw(),
                                                    .dy = dy.raw(),
                                                    .dw = dw.raw<float>(),
                                                    .dbias = pointer_or_null(dbias),
                                                    .workspace = workspace.as()},
                                                   stream()));
  };
  if (dbias.defined()) return run(nullptr);
  plans_.run({.shape = shape,
              .type = type,
              .tf32 = tf32_of(type),
              .direction = ConvDirection::backward_weights,
              .f32_gradient = true},
             false, may_measure(), run);
}

void CudaBackend::conv_inference(const ConvInference& args) {
  const Range range(context_, "conv_inference");
  const kernels::DataType type = data_type("conv_bn_relu", args.x);
  const std::shared_ptr<const InferenceScale> factors = inference_scale(args);
  const float* const scale = factors->data.as<float>();
  const float* const shift = scale + args.shape.k;
  const void* filter = in_type(args.w, args.x.dtype());
  const auto run = [&](const LibraryPlan* library) {
    if (library != nullptr)
      return run_library("conv_bn_relu", library,
                         {.x = args.x.raw(),
                          .w = const_cast<void*>(filter),
                          .y = args.y.raw(),
                          .scale = scale,
                          .shift = shift,
                          .residual = pointer_or_null<void>(args.residual)});
    context_.check_launch("conv_bn_relu", kernels().conv_fprop({.shape = args.shape,
                                                                .type = type,
                                                                .tf32 = tf32_of(type),
                                                                .x = args.x.raw(),
                                                                .w = filter,
                                                                .bias = pointer_or_null(args.bias),
                                                                .scale = scale,
                                                                .shift = shift,
                                                                .residual = pointer_or_null<void>(args.residual),
                                                                .relu = args.relu,
                                                                .y = args.y.raw()},
                                                               stream()));
  };
  if (args.bias.defined()) return run(nullptr);
  // Where the result takes the residual's place it can be written once only.
  const bool in_place = args.residual.defined() && args.residual.raw() == args.y.raw();
  plans_.run({.shape = args.shape,
              .type = type,
              .tf32 = tf32_of(type),
              .direction = ConvDirection::forward,
              .scale_shift = true,
              .residual = args.residual.defined(),
              .relu = args.relu},
             false, may_measure() && !in_place, run);
}

void CudaBackend::convolve(const ConvBatchNorm& conv, float* factors) {
  const Conv2dShape& shape = conv.shape;
  const Tensor& y = conv.norm.x;
  const kernels::DataType type = data_type("conv_bn_relu", conv.x);
  const void* filter = in_type(conv.w, conv.x.dtype());
  const kernels::RowParts in_epilogue = kernels().conv_fprop_parts(shape, type),
                          in_own_pass = kernels().batch_norm_parts(rows_of(y), shape.k);
  const Scratch partials = scratch(std::max(in_epilogue.bytes(shape.k), in_own_pass.bytes(shape.k)));
  kernels::RowParts parts = in_epilogue;
  plans_.run({.shape = shape, .type = type, .tf32 = tf32_of(type), .direction = ConvDirection::forward}, true,
             may_measure(), [&](const LibraryPlan* library) {
               parts = library != nullptr ? in_own_pass : in_epilogue;
               if (library == nullptr)
                 return context_.check_launch("conv_bn_relu", kernels().conv_fprop({.shape = shape,
                                                                                    .type = type,
                                                                                    .tf32 = tf32_of(type),
                                                                                    .x = conv.x.raw(),
                                                                                    .w = filter,
                                                                                    .y = y.raw(),
                                                                                    .partials = partials.as<float>()},
                                                                                   stream()));
               run_library("conv_bn_relu", library, {.x = conv.x.raw(), .w = const_cast<void*>(filter), .y = y.raw()});
               statistics(y, partials.as<float>());
             });
  finalize(conv.norm, partials.as<float>(), parts, factors);
}

void CudaBackend::conv_batch_norm_forward(const Conv2dShape& shape, const Tensor& x, const Tensor& w,
                                          const BatchNormForward& args) {
  const Range range(context_, "conv_batch_norm_forward");
  const Scratch factors = scratch_floats(2 * shape.k);
  convolve({.shape = shape, .x = x, .w = w, .norm = args}, factors.as<float>());
  normalize(args, factors.as<float>());
}

}  // namespace engine::cuda
