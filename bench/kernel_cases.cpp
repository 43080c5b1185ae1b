#include "bench/kernel_cases.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <sstream>

#include "bench/kernel_operands.h"
#include "engine/error.h"
#include "engine/random.h"

namespace engine::bench {
namespace {

using kernels::Conv2dShape;
using kernels::Cost;
using kernels::DataType;
using kernels::Kernels;
using kernels::Module;
using kernels::RowParts;
using kernels::Runtime;
using kernels::Stream;

void must(const kernels::Status& status, const char* what) {
  if (!status.ok()) fail(ErrorKind::device, "kernel_bench: ", what, " failed: ", status.text);
}

std::string text_of(const Conv2dShape& s) {
  std::ostringstream out;
  out << s.n << "x" << s.h << "x" << s.w << "x" << s.c << " " << s.r << "x" << s.s << "/" << s.stride << " -> " << s.k;
  if (s.groups > 1) out << ", " << s.groups << " groups";
  return out.str();
}

std::string text_of_rows(int64_t rows, int64_t channels) {
  return std::to_string(rows) + "x" + std::to_string(channels);
}

struct Maker {
  const Module& module;
  DataType type;
  Stream stream;

  const Kernels& kernels() const { return *module.kernels; }
  Operands memory() const { return {*module.runtime, type, stream}; }

  KernelCase fprop(const Conv2dShape& shape) const {
    Operands m = memory();
    const RowParts parts = kernels().conv_fprop_parts(shape, type);
    kernels::ConvForward args = {.shape = shape, .type = type};
    args.x = m.activation(shape.n * shape.h * shape.w * shape.c);
    args.w = m.activation(shape.k * shape.r * shape.s * shape.c / shape.groups);
    args.y = m.activation(shape.n * shape.p() * shape.q() * shape.k);
    args.partials = static_cast<float*>(m.bytes(parts.bytes(shape.k)));
    return {"conv_fprop + statistics", text_of(shape), conv_fprop_cost(args),
            [launch = kernels().conv_fprop, args, s = stream] { return launch(args, s); }, m.take()};
  }

  KernelCase dgrad(const Conv2dShape& shape) const {
    Operands m = memory();
    kernels::ConvBackwardData args = {.shape = shape, .type = type};
    args.dy = m.activation(shape.n * shape.p() * shape.q() * shape.k);
    args.w = m.activation(shape.k * shape.r * shape.s * shape.c / shape.groups);
    args.dx = m.activation(shape.n * shape.h * shape.w * shape.c);
    return {"conv_dgrad", text_of(shape), conv_dgrad_cost(args),
            [launch = kernels().conv_dgrad, args, s = stream] { return launch(args, s); }, m.take()};
  }

  KernelCase wgrad(const Conv2dShape& shape) const {
    Operands m = memory();
    kernels::ConvBackwardWeights args = {.shape = shape, .type = type};
    args.x = m.activation(shape.n * shape.h * shape.w * shape.c);
    args.dy = m.activation(shape.n * shape.p() * shape.q() * shape.k);
    args.dw = m.floats(shape.k * shape.r * shape.s * shape.c / shape.groups);
    args.workspace = m.bytes(kernels().conv_wgrad_workspace(shape, type));
    return {"conv_wgrad", text_of(shape), conv_wgrad_cost(args),
            [launch = kernels().conv_wgrad, args, s = stream] { return launch(args, s); }, m.take()};
  }

  KernelCase normalize(int64_t rows, int64_t channels, bool residual) const {
    Operands m = memory();
    kernels::BatchNormNormalize args = {.type = type, .rows = rows, .channels = channels, .relu = true};
    args.x = m.activation(rows * channels);
    args.scale = m.floats(channels);
    args.shift = m.floats(channels);
    if (residual) args.residual = m.activation(rows * channels);
    args.y = m.activation(rows * channels);
    return {residual ? "batch_norm_normalize + residual" : "batch_norm_normalize", text_of_rows(rows, channels),
            batch_norm_normalize_cost(args),
            [launch = kernels().batch_norm_normalize, args, s = stream] { return launch(args, s); }, m.take()};
  }

  KernelCase backward_reduce(int64_t rows, int64_t channels) const {
    Operands m = memory();
    kernels::BatchNormBackwardReduce args = {.type = type, .rows = rows, .channels = channels};
    args.dy = m.activation(rows * channels);
    args.y = m.activation(rows * channels);
    args.x = m.activation(rows * channels);
    args.mean = m.floats(channels);
    args.partials = static_cast<float*>(m.bytes(kernels().batch_norm_parts(rows, channels).bytes(channels)));
    return {"batch_norm_backward_reduce", text_of_rows(rows, channels), batch_norm_backward_reduce_cost(args),
            [launch = kernels().batch_norm_backward_reduce, args, s = stream] { return launch(args, s); }, m.take()};
  }

  KernelCase backward_apply(int64_t rows, int64_t channels) const {
    Operands m = memory();
    kernels::BatchNormBackwardApply args = {.type = type, .rows = rows, .channels = channels};
    args.dy = m.activation(rows * channels);
    args.y = m.activation(rows * channels);
    args.x = m.activation(rows * channels);
    args.mean = m.floats(channels);
    args.a = m.floats(channels);
    args.b = m.floats(channels);
    args.c = m.floats(channels);
    args.dx = m.activation(rows * channels);
    return {"batch_norm_backward_apply", text_of_rows(rows, channels), batch_norm_backward_apply_cost(args),
            [launch = kernels().batch_norm_backward_apply, args, s = stream] { return launch(args, s); }, m.take()};
  }

  KernelCase copy(int64_t bytes) const {
    Operands m = memory();
    void *from = m.bytes(static_cast<size_t>(bytes)), *to = m.bytes(static_cast<size_t>(bytes));
    return {"copy (the bandwidth to reach)", std::to_string(bytes >> 20) + " MiB", Cost{.bytes = 2 * bytes, .flops = 0},
            [copy = module.runtime->copy_on_device, to, from, bytes, s = stream] {
              return copy(to, from, static_cast<size_t>(bytes), s).ok();
            },
            m.take()};
  }

  KernelCase step(const char* name, const kernels::OptimizerRule& rule, int64_t parameters) const {
    Operands m = memory();
    const kernels::OptimizerTensor tensor = {.parameter = m.floats(parameters),
                                             .grad = m.floats(parameters),
                                             .momentum = m.floats(parameters),
                                             .second_moment = rule.has_moments() ? m.floats(parameters) : nullptr,
                                             .count = parameters,
                                             .weight_decay = 1e-4f};
    const std::vector<kernels::OptimizerChunk> chunks = kernels::optimizer_chunks({tensor});
    kernels::OptimizerStep args = {.rule = rule};
    args.chunks = m.copy_of(chunks);
    args.num_chunks = static_cast<int64_t>(chunks.size());
    args.lr = m.floats(1);
    args.steps = m.copy_of(std::vector<int64_t>{0});
    args.workspace = m.bytes(kernels().optimizer_workspace(rule.kind, args.num_chunks));
    return {name, std::to_string(parameters), optimizer_step_cost(args, parameters, false),
            [launch = kernels().optimizer_step, args, s = stream] { return launch(args, s); }, m.take()};
  }
};

}  // namespace

DeviceMemory::DeviceMemory(const Runtime& runtime, size_t bytes, DataType type, Stream stream) : runtime_(runtime) {
  must(runtime.malloc_device(&data_, std::max<size_t>(bytes, 4)), "allocating an operand");
  // One block of random numbers, repeated.
  constexpr size_t kBlock = 1 << 20;
  RandomStream random(3, 0, 0, purpose::kAugmentation);
  std::vector<uint8_t> block(std::min(bytes, kBlock));
  for (size_t i = 0; i + 4 <= block.size(); i += 4) {
    const float a = random.normal(), b = random.normal();
    const auto put = [&](const auto& value, size_t at) { std::memcpy(block.data() + i + at, &value, sizeof value); };
    if (type == DataType::f32) {
      put(a, 0);
    } else if (type == DataType::bf16) {
      put(kernels::from_float<kernels::bf16>(a), 0);
      put(kernels::from_float<kernels::bf16>(b), 2);
    } else {
      put(kernels::from_float<kernels::f16>(a), 0);
      put(kernels::from_float<kernels::f16>(b), 2);
    }
  }
  for (size_t done = 0; done < bytes; done += kBlock)
    must(runtime.copy_to_device(static_cast<uint8_t*>(data_) + done, block.data(), std::min(bytes - done, kBlock),
                                stream),
         "filling an operand");
}

void Operands::copy(void* to, const void* from, size_t bytes) {
  must(runtime_.copy_to_device(to, from, bytes, stream_), "copying an operand");
}

std::vector<MakeCase> kernel_cases(const Module& module, const std::vector<NetConvolution>& convolutions,
                                   const KernelCasesOptions& options, Stream stream) {
  const Maker maker = {module, options.type, stream};
  std::vector<MakeCase> cases;
  int64_t largest = 0;
  std::set<std::pair<int64_t, int64_t>> normalized;
  for (const NetConvolution& layer : convolutions) {
    const Conv2dShape shape = layer.shape;
    cases.push_back([=] { return maker.fprop(shape); });
    if (shape.c != 3) cases.push_back([=] { return maker.dgrad(shape); });  // nobody needs the gradient of the images
    cases.push_back([=] { return maker.wgrad(shape); });
    normalized.insert({shape.n * shape.p() * shape.q(), shape.k});
    largest = std::max(largest, shape.n * shape.p() * shape.q() * shape.k * size_of(options.type));
  }
  for (const auto& [rows, channels] : normalized) {
    const auto r = rows, c = channels;
    for (const bool residual : {false, true}) cases.push_back([=] { return maker.normalize(r, c, residual); });
    cases.push_back([=] { return maker.backward_reduce(r, c); });
    cases.push_back([=] { return maker.backward_apply(r, c); });
  }
  for (const auto& [name, rule] :
       {std::pair<const char*, kernels::OptimizerRule>{"optimizer_step SGD", {.momentum = 0.9f}},
        {"optimizer_step LARS", {.kind = kernels::OptimizerKind::lars, .momentum = 0.9f}},
        {"optimizer_step AdamW", {.kind = kernels::OptimizerKind::adamw}},
        {"optimizer_step LAMB", {.kind = kernels::OptimizerKind::lamb}}})
    cases.push_back(
        [=, name = name, rule = rule, parameters = options.parameters] { return maker.step(name, rule, parameters); });
  for (MakeCase& make : other_kernel_cases(module, convolutions, options, stream)) cases.push_back(std::move(make));
  cases.push_back([=] { return maker.copy(largest); });
  return cases;
}

}  // namespace engine::bench
