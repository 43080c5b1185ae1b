// The decorator's convolutions and normalisations: what each of them is, and which layer it belongs to.
#include <sstream>
#include <utility>

#include "bench/profiling_backend.h"

namespace engine::bench {
namespace {

std::string conv_text(const Conv2dShape& s) {
  std::ostringstream text;
  text << s.h << 'x' << s.w << 'x' << s.c << " -> " << s.p() << 'x' << s.q() << 'x' << s.k << "  " << s.r << 'x' << s.s;
  if (s.stride > 1) text << '/' << s.stride;
  if (s.groups > 1) text << " groups " << s.groups;
  return text.str();
}

const char* epilogue_text(bool add, bool relu) {
  if (add) return relu ? " +add +relu" : " +add";
  return relu ? " +relu" : "";
}

ConvolutionCase training_case(cpu::ConvDirection direction, const Conv2dShape& shape, const Tensor& x, const Tensor& y,
                              bool bias = false, bool statistics = false) {
  return {.problem = {.direction = direction,
                      .shape = shape,
                      .dtype = x.dtype(),
                      .x = layout_of(x),
                      .y = layout_of(y),
                      .bias = bias},
          .statistics = statistics};
}

ConvolutionCase inference_case(const ConvInference& args, Device device) {
  const bool in_place = args.residual.defined() && args.residual.raw() == args.y.raw();
  const bool cpu = device.type == DeviceType::cpu;
  return {.problem = {.direction = cpu::ConvDirection::inference,
                      .shape = args.shape,
                      .dtype = args.x.dtype(),
                      .x = layout_of(args.x),
                      .y = layout_of(args.y),
                      .bias = cpu || args.bias.defined(),  // the CPU folds the batch normalisation into one
                      .relu = args.relu,
                      .residual = in_place                  ? cpu::Residual::in_place
                                  : args.residual.defined() ? cpu::Residual::separate
                                                            : cpu::Residual::none}};
}

}  // namespace

OpCall ProfilingBackend::conv_forward_call(const Conv2dShape& shape, const Tensor& x, const Tensor& w,
                                           const OpCost& cost, ConvolutionCase convolution, const char* with) {
  const std::string layer = layer_of(w);
  read_[{&x.storage(), shape.k, shape.r}] = layer;
  return {.layer = layer,
          .op = {},
          .direction = "fprop",
          .shape = conv_text(shape) + with,
          .dtype = x.dtype(),
          .cost = cost,
          .convolution = std::move(convolution)};
}

void ProfilingBackend::conv_forward(const Conv2dShape& shape, const Tensor& x, const Tensor& w, const Tensor& bias,
                                    const Tensor& y) {
  const auto describe = [&] {
    return conv_forward_call(shape, x, w, conv_cost(shape, x.dtype(), ConvPass::forward),
                             training_case(cpu::ConvDirection::forward, shape, x, y, bias.defined()), "");
  };
  timed("conv", describe, [&] { inner_.conv_forward(shape, x, w, bias, y); });
}

void ProfilingBackend::conv_backward_data(const Conv2dShape& shape, const Tensor& dy, const Tensor& w,
                                          const Tensor& dx) {
  const auto describe = [&] {
    return OpCall{.layer = layer_of(w),
                  .direction = "dgrad",
                  .shape = conv_text(shape),
                  .dtype = dy.dtype(),
                  .cost = conv_cost(shape, dy.dtype(), ConvPass::backward_data),
                  .convolution = training_case(cpu::ConvDirection::backward_data, shape, dx, dy)};
  };
  timed("conv", describe, [&] { inner_.conv_backward_data(shape, dy, w, dx); });
}

void ProfilingBackend::conv_backward_weights(const Conv2dShape& shape, const Tensor& x, const Tensor& dy,
                                             const Tensor& dw, const Tensor& dbias) {
  const auto describe = [&] {
    // No parameter among the operands, but the forward pass read the same x.
    const auto forward = read_.find({&x.storage(), shape.k, shape.r});
    return OpCall{.layer = forward != read_.end() ? forward->second : std::string(),
                  .direction = "wgrad",
                  .shape = conv_text(shape),
                  .dtype = x.dtype(),
                  .cost = conv_cost(shape, x.dtype(), ConvPass::backward_weights),
                  .convolution = training_case(cpu::ConvDirection::backward_weights, shape, x, dy)};
  };
  timed("conv", describe, [&] { inner_.conv_backward_weights(shape, x, dy, dw, dbias); });
}

void ProfilingBackend::conv_inference(const ConvInference& args) {
  const auto describe = [&] {
    return OpCall{.layer = layer_of(args.w),
                  .direction = "fprop",
                  .shape = conv_text(args.shape) + epilogue_text(args.residual.defined(), args.relu),
                  .dtype = args.x.dtype(),
                  .cost = conv_inference_cost(args),
                  .convolution = inference_case(args, device_)};
  };
  timed("conv+bn", describe, [&] { inner_.conv_inference(args); });
}

// --- normalisation ---

void ProfilingBackend::batch_norm_forward(const BatchNormForward& args) {
  const auto describe = [&] {
    return OpCall{.layer = layer_of(args.gamma),
                  .direction = "forward",
                  .shape = image_text(args.x) + epilogue_text(args.residual.defined(), args.relu),
                  .dtype = args.x.dtype(),
                  .cost = batch_norm_cost(args)};
  };
  timed("batch_norm", describe, [&] { inner_.batch_norm_forward(args); });
}

void ProfilingBackend::batch_norm_backward(const BatchNormBackward& args) {
  const auto describe = [&] {
    return OpCall{.layer = layer_of(args.gamma),
                  .direction = "backward",
                  .shape = image_text(args.x) + epilogue_text(args.dresidual.defined(), args.y.defined()),
                  .dtype = args.x.dtype(),
                  .cost = batch_norm_cost(args)};
  };
  timed("batch_norm", describe, [&] { inner_.batch_norm_backward(args); });
}

void ProfilingBackend::conv_batch_norm_forward(const Conv2dShape& shape, const Tensor& x, const Tensor& w,
                                               const BatchNormForward& args) {
  if (in_parts()) return Backend::conv_batch_norm_forward(shape, x, w, args);
  const auto describe = [&] {
    return conv_forward_call(shape, x, w, conv_batch_norm_cost(shape, args),
                             training_case(cpu::ConvDirection::forward, shape, x, args.x, false, true),
                             epilogue_text(args.residual.defined(), args.relu));
  };
  timed("conv+bn", describe, [&] { inner_.conv_batch_norm_forward(shape, x, w, args); });
}

void ProfilingBackend::conv_batch_norm_pool_forward(const ConvBatchNorm& conv, const PoolShape& pool,
                                                    const Tensor& argmax) {
  if (in_parts()) return Backend::conv_batch_norm_pool_forward(conv, pool, argmax);
  const auto describe = [&] {
    OpCost cost = conv_batch_norm_cost(conv.shape, conv.norm);
    cost.written += static_cast<double>(argmax.bytes());
    return conv_forward_call(conv.shape, conv.x, conv.w, cost,
                             training_case(cpu::ConvDirection::forward, conv.shape, conv.x, conv.norm.x, false, true),
                             " +relu +pool");
  };
  timed("conv+bn+pool", describe, [&] { inner_.conv_batch_norm_pool_forward(conv, pool, argmax); });
}

void ProfilingBackend::batch_norm_pool_backward(const BatchNormBackward& args, const PoolShape& pool,
                                                const Tensor& argmax) {
  if (in_parts()) return Backend::batch_norm_pool_backward(args, pool, argmax);
  const auto describe = [&] {
    return OpCall{.layer = layer_of(args.gamma),
                  .direction = "backward",
                  .shape = image_text(args.x) + " +relu +pool",
                  .dtype = args.x.dtype(),
                  .cost = batch_norm_pool_backward_cost(args, argmax)};
  };
  timed("bn+pool", describe, [&] { inner_.batch_norm_pool_backward(args, pool, argmax); });
}

void ProfilingBackend::conv_batch_norm_join_forward(const ConvBatchNorm& main, const ConvBatchNorm& shortcut) {
  if (in_parts()) return Backend::conv_batch_norm_join_forward(main, shortcut);
  const auto describe = [&] {
    read_[{&shortcut.x.storage(), shortcut.shape.k, shortcut.shape.r}] = layer_of(shortcut.w);
    return conv_forward_call(main.shape, main.x, main.w, conv_batch_norm_join_cost(main, shortcut),
                             training_case(cpu::ConvDirection::forward, main.shape, main.x, main.norm.x, false, true),
                             " +projection +relu");
  };
  timed("conv+bn join", describe, [&] { inner_.conv_batch_norm_join_forward(main, shortcut); });
}

void ProfilingBackend::batch_norm_join_backward(const BatchNormBackward& main, const BatchNormBackward& shortcut) {
  if (in_parts()) return Backend::batch_norm_join_backward(main, shortcut);
  const auto describe = [&] {
    return OpCall{.layer = layer_of(main.gamma),
                  .direction = "backward",
                  .shape = image_text(main.x) + " +projection +relu",
                  .dtype = main.x.dtype(),
                  .cost = batch_norm_join_backward_cost(main, shortcut)};
  };
  timed("bn join", describe, [&] { inner_.batch_norm_join_backward(main, shortcut); });
}

}  // namespace engine::bench
