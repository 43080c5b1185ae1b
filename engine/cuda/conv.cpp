#include "engine/cuda/backend.h"
#include "engine/cuda/derived.h"

namespace engine::cuda {

void CudaBackend::conv_forward(const Conv2dShape& shape, const Tensor& x, const Tensor& w, const Tensor& bias,
                               const Tensor& y) {
  context_.check_launch("conv2d", kernels().conv_fprop({.shape = shape,
                                                        .type = data_type("conv2d", x),
                                                        .x = x.raw(),
                                                        .w = in_type(w, x.dtype()),
                                                        .bias = pointer_or_null(bias),
                                                        .y = y.raw()},
                                                       stream()));
}

void CudaBackend::conv_backward_data(const Conv2dShape& shape, const Tensor& dy, const Tensor& w, const Tensor& dx) {
  context_.check_launch("conv2d_backward_data", kernels().conv_dgrad({.shape = shape,
                                                                      .type = data_type("conv2d_backward_data", dy),
                                                                      .dy = dy.raw(),
                                                                      .w = in_type(w, dy.dtype()),
                                                                      .dx = dx.raw()},
                                                                     stream()));
}

void CudaBackend::conv_backward_weights(const Conv2dShape& shape, const Tensor& x, const Tensor& dy, const Tensor& dw,
                                        const Tensor& dbias) {
  const kernels::DataType type = data_type("conv2d_backward_weights", x);
  const Scratch workspace = scratch(kernels().conv_wgrad_workspace(shape, type));
  context_.check_launch("conv2d_backward_weights", kernels().conv_wgrad({.shape = shape,
                                                                         .type = type,
                                                                         .x = x.raw(),
                                                                         .dy = dy.raw(),
                                                                         .dw = dw.raw<float>(),
                                                                         .dbias = pointer_or_null(dbias),
                                                                         .workspace = workspace.as()},
                                                                        stream()));
}

void CudaBackend::conv_inference(const ConvInference& args) {
  const std::shared_ptr<const InferenceScale> scale = inference_scale(args);
  context_.check_launch("conv_bn_relu", kernels().conv_fprop({.shape = args.shape,
                                                              .type = data_type("conv_bn_relu", args.x),
                                                              .x = args.x.raw(),
                                                              .w = in_type(args.w, args.x.dtype()),
                                                              .bias = pointer_or_null(args.bias),
                                                              .scale = scale->data.as<float>(),
                                                              .shift = scale->data.as<float>() + args.shape.k,
                                                              .residual = pointer_or_null<void>(args.residual),
                                                              .relu = args.relu,
                                                              .y = args.y.raw()},
                                                             stream()));
}

// The statistics of the batch are taken where the result is in registers still, so that it is read once less.
void CudaBackend::conv_batch_norm_forward(const Conv2dShape& shape, const Tensor& x, const Tensor& w,
                                          const BatchNormForward& args) {
  const kernels::DataType type = data_type("conv_bn_relu", x);
  const kernels::RowParts parts = kernels().conv_fprop_parts(shape, type);
  const Scratch partials = scratch(parts.bytes(shape.k));
  context_.check_launch("conv_bn_relu", kernels().conv_fprop({.shape = shape,
                                                              .type = type,
                                                              .x = x.raw(),
                                                              .w = in_type(w, x.dtype()),
                                                              .y = args.x.raw(),
                                                              .partials = partials.as<float>()},
                                                             stream()));
  normalize(args, partials.as<float>(), parts);
}

}  // namespace engine::cuda
