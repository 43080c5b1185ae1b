#include "bench/kernels/cpu_cases.h"

#include <array>
#include <memory>
#include <set>
#include <tuple>

#include "bench/net_convolutions.h"
#include "engine/backend.h"
#include "engine/nn/module.h"
#include "engine/ops/images.h"
#include "engine/random.h"

namespace engine::bench {
namespace {

constexpr std::array<float, 3> kMean = {0.485f, 0.456f, 0.406f}, kStd = {0.229f, 0.224f, 0.225f};

Backend& cpu() {
  return backend(Device{});
}

Tensor noise(const Shape& shape) {
  RandomStream random(2, 0, 0, purpose::kAugmentation);
  std::array<float, 4093> sample;  // repeated: a prime number of values, so that no row equals its neighbour
  for (float& value : sample) value = random.normal();
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = sample[i % sample.size()];
  return Tensor::from(values, shape);
}

// In the layout that the backend prefers for it.
Tensor activation(const Shape& shape, DType dtype) {
  Tensor result = make_activation(shape, dtype, {});
  cpu().convert(noise(shape), result);
  return result;
}

std::string text_of(const Conv2dShape& s) {
  const auto text = [](int64_t value) { return std::to_string(value); };
  std::string result = text(s.n) + "x" + text(s.h) + "x" + text(s.w) + "x" + text(s.c) + " " + text(s.r) + "x" +
                       text(s.s) + "/" + text(s.stride) + " " + text(s.k);
  return s.groups > 1 ? result + " groups " + text(s.groups) : result;
}

std::string text_of(const Shape& shape) {
  std::string result;
  for (int i = 0; i < shape.rank(); ++i) result += (i > 0 ? "x" : "") + std::to_string(shape[i]);
  return result;
}

class Cases {
 public:
  explicit Cases(DType dtype) : dtype_(dtype) {}

  std::vector<NamedCase> take() { return std::move(all_); }

  void convolution(const Conv2dShape& s) {
    const Shape x_shape = {s.n, s.h, s.w, s.c}, y_shape = {s.n, s.p(), s.q(), s.k};
    const Shape w_shape = {s.k, s.r, s.s, s.c / s.groups};
    const auto both = [=, dtype = dtype_] {
      return std::tuple{activation(x_shape, dtype), noise(w_shape), activation(y_shape, dtype)};
    };
    const OpCost forward = conv_cost(s, dtype_, ConvPass::forward);
    add("conv_forward", text_of(s), [=] {
      const auto [x, w, y] = both();
      return CpuCase{forward, [=, x = x, w = w, y = y] {
                       w.storage().bump_version();  // as after a step: the filter is prepared anew
                       cpu().conv_forward(s, x, w, {}, y);
                     }};
    });
    if (s.c != 3) {  // nobody needs the gradient of the images
      const OpCost cost = conv_cost(s, dtype_, ConvPass::backward_data);
      add("conv_backward_data", text_of(s), [=] {
        const auto [x, w, y] = both();
        return CpuCase{cost, [=, x = x, w = w, y = y] {
                         w.storage().bump_version();
                         cpu().conv_backward_data(s, y, w, x);
                       }};
      });
    }
    const OpCost weights = conv_cost(s, dtype_, ConvPass::backward_weights);
    add("conv_backward_weights", text_of(s), [=] {
      const auto [x, w, y] = both();
      return CpuCase{
          weights, [=, x = x, y = y, dw = Tensor::zeros(w.shape())] { cpu().conv_backward_weights(s, x, y, dw, {}); }};
    });
    add("conv_inference", text_of(s), [=] {
      const auto [x, w, y] = both();
      const Tensor ones = Tensor::full({s.k}, 1.0), zeros = Tensor::zeros({s.k});
      ConvInference args = {.shape = s, .x = x, .w = w, .gamma = ones, .beta = zeros};
      args.running_mean = zeros;
      args.running_var = ones;
      args.relu = true;
      args.y = y;
      return CpuCase{conv_inference_cost(args), [=] { cpu().conv_inference(args); }};
    });
  }

  void batch_norm(const Shape& shape) {
    for (const bool residual : {false, true}) {
      add(residual ? "batch_norm_add_relu_forward" : "batch_norm_relu_forward", text_of(shape), [=, dtype = dtype_] {
        const BatchNormForward args = forward_arguments(shape, dtype, residual);
        return CpuCase{batch_norm_cost(args), [=] { cpu().batch_norm_forward(args); }};
      });
      add(residual ? "batch_norm_add_relu_backward" : "batch_norm_relu_backward", text_of(shape), [=, dtype = dtype_] {
        const BatchNormForward saved = forward_arguments(shape, dtype, residual);
        cpu().batch_norm_forward(saved);
        BatchNormBackward args = {.dy = activation(shape, dtype), .y = saved.y, .x = saved.x};
        args.gamma = saved.gamma;
        args.mean = saved.mean;
        args.rstd = saved.rstd;
        args.dx = activation(shape, dtype);
        args.dgamma = Tensor::zeros(saved.gamma.shape());
        args.dbeta = Tensor::zeros(saved.gamma.shape());
        if (residual) args.dresidual = activation(shape, dtype);
        return CpuCase{batch_norm_cost(args), [=] { cpu().batch_norm_backward(args); }};
      });
    }
  }

  void elementwise(const Shape& shape) {
    one_pass("add_relu", shape, 2, [](const Tensors& x, const Tensor& y) { cpu().add_relu(x[0], x[1], y); });
    one_pass("relu_backward", shape, 2, [](const Tensors& x, const Tensor& y) { cpu().relu_backward(x[0], x[1], y); });
    one_pass("relu", shape, 1, [](const Tensors& x, const Tensor& y) { cpu().unary(UnaryOp::relu, x[0], y); });
    one_pass("add", shape, 2, [](const Tensors& x, const Tensor& y) { cpu().binary(BinaryOp::add, x[0], x[1], y); });
    one_pass("affine", shape, 1, [](const Tensors& x, const Tensor& y) { cpu().affine(x[0], 2, 1, y); });
    one_pass("fill", shape, 0, [](const Tensors&, const Tensor& y) { cpu().fill(y, 1); });
    add("sum", text_of(shape), [=, dtype = dtype_] {
      const Tensor x = activation(shape, dtype), y = Tensor::zeros({});
      return CpuCase{pass_cost({&x}, {&y}), [=] { cpu().sum(x, y); }};
    });
    add("convert_from_f32_nhwc", text_of(shape), [=, dtype = dtype_] {
      const Tensor x = noise(shape), y = activation(shape, dtype);
      return CpuCase{pass_cost({&x}, {&y}), [=] { cpu().convert(x, y); }};
    });
    add("convert_to_f32_nhwc", text_of(shape), [=, dtype = dtype_] {
      const Tensor x = activation(shape, dtype), y = Tensor::empty(shape);
      return CpuCase{pass_cost({&x}, {&y}), [=] { cpu().convert(x, y); }};
    });
  }

  void max_pool(const Shape& shape) {
    const PoolShape pool = {.window = 3, .stride = 2, .padding = 1};
    const auto half = [](int64_t extent) { return (extent - 1) / 2 + 1; };
    const Shape out = {shape[0], half(shape[1]), half(shape[2]), shape[3]};
    for (const bool forward : {true, false}) {
      add(forward ? "max_pool_forward" : "max_pool_backward", text_of(shape), [=, dtype = dtype_] {
        const Tensor x = activation(shape, dtype), y = activation(out, dtype);
        const Tensor argmax = make_activation(out, DType::u8, {});
        cpu().max_pool_forward(pool, x, y, argmax);
        if (forward)
          return CpuCase{pass_cost({&x}, {&y, &argmax}), [=] { cpu().max_pool_forward(pool, x, y, argmax); }};
        return CpuCase{pass_cost({&y, &argmax}, {&x}), [=] { cpu().max_pool_backward(pool, y, argmax, x); }};
      });
    }
  }

  void subsample(const Shape& shape, int64_t out_channels) {
    const Shape out = {shape[0], (shape[1] + 1) / 2, (shape[2] + 1) / 2, out_channels};
    const int64_t before = (out_channels - shape[3]) / 2;
    for (const bool forward : {true, false}) {
      add(forward ? "subsample_pad" : "subsample_pad_backward", text_of(shape), [=, dtype = dtype_] {
        const Tensor x = activation(shape, dtype), y = activation(out, dtype);
        const double sampled =
            static_cast<double>(y.bytes()) * static_cast<double>(shape[3]) / static_cast<double>(out_channels);
        OpCost cost = pass_cost({}, {forward ? &y : &x});
        cost.read = sampled;
        if (forward) return CpuCase{cost, [=] { cpu().subsample_pad(x, 2, before, y); }};
        return CpuCase{cost, [=] { cpu().subsample_pad_backward(y, 2, before, x); }};
      });
    }
  }

  void head(const Shape& last, int64_t classes) {
    const Shape features = {last[0], last[3]}, outputs = {last[0], classes}, matrix = {classes, last[3]};
    const auto plain = [dtype = dtype_](const Shape& shape) { return noise(shape).to(dtype); };
    for (const bool forward : {true, false}) {
      add(forward ? "global_avg_pool_forward" : "global_avg_pool_backward", text_of(last), [=, dtype = dtype_] {
        const Tensor x = activation(last, dtype), y = plain(features);
        if (forward) return CpuCase{pass_cost({&x}, {&y}), [=] { cpu().global_avg_pool_forward(x, y); }};
        return CpuCase{pass_cost({&y}, {&x}), [=] { cpu().global_avg_pool_backward(y, x); }};
      });
    }
    const std::string name = text_of(features) + " " + std::to_string(classes);
    add("linear_forward", name, [=] {
      const Tensor x = plain(features), w = noise(matrix), bias = noise({classes}), y = plain(outputs);
      return CpuCase{linear_cost(x, w, y), [=] {
                       w.storage().bump_version();
                       cpu().linear_forward(x, w, bias, y);
                     }};
    });
    add("linear_backward", name, [=] {
      const Tensor x = plain(features), w = noise(matrix), dy = plain(outputs);
      const Tensor dx = plain(features), dw = noise(matrix), dbias = noise({classes});
      return CpuCase{linear_backward_cost(x, w, dy, dx, dw, dbias), [=] {
                       w.storage().bump_version();
                       cpu().linear_backward(x, w, dy, dx, dw, dbias);
                     }};
    });
    add("softmax_cross_entropy", text_of(outputs), [=] {
      const Tensor logits = plain(outputs), dlogits = plain(outputs), loss = Tensor::zeros({});
      const Tensor labels = Tensor::from(std::vector<int64_t>(static_cast<size_t>(outputs[0]), 1), {outputs[0]});
      return CpuCase{pass_cost({&logits, &labels}, {&dlogits}),
                     [=] { cpu().softmax_cross_entropy(logits, labels, 0, loss, dlogits); }};
    });
  }

  void images(const Shape& shape) {
    add("normalize_images", text_of(shape), [=, dtype = dtype_] {
      const Tensor x = Tensor::zeros(shape, {.dtype = DType::u8}), y = activation(shape, dtype);
      return CpuCase{pass_cost({&x}, {&y}), [=] { cpu().normalize_images(x, kMean, kStd, {}, y); }};
    });
  }

  void optimizer(const std::vector<Shape>& shapes) {
    int64_t count = 0;
    for (const Shape& shape : shapes) count += shape.numel();
    const auto steps = [&](const char* name, const OptimizerRule& rule) {
      add(name, std::to_string(count), [=] {
        auto parameters = std::make_shared<std::vector<OptimizerParameter>>();
        for (const Shape& shape : shapes)
          parameters->push_back({.parameter = noise(shape),
                                 .grad = noise(shape),
                                 .momentum = noise(shape),
                                 .second_moment = rule.has_moments() ? Tensor::full(shape, 1) : Tensor{},
                                 .weight_decay = 1e-4f});
        // So small a rate that the parameters stay finite in any number of steps.
        const OptimizerStep step = {.rule = rule, .lr = 1e-9f, .steps = Tensor::zeros({}, {.dtype = DType::i64})};
        return CpuCase{optimizer_cost(*parameters), [=] { cpu().optimizer_step(*parameters, step); }};
      });
    };
    steps("sgd_step", {.momentum = 0.9f});
    steps("lars_step", {.kind = OptimizerKind::lars, .momentum = 0.9f});
    steps("adamw_step", {.kind = OptimizerKind::adamw});
    steps("lamb_step", {.kind = OptimizerKind::lamb});
    add("find_non_finite", std::to_string(count), [=] {
      auto tensors = std::make_shared<Tensors>();
      OpCost cost;
      for (const Shape& shape : shapes) {
        tensors->push_back(noise(shape));
        cost.read += static_cast<double>(tensors->back().bytes());
      }
      const Tensor found = Tensor::zeros({}, {.dtype = DType::i64});
      return CpuCase{cost, [=] { cpu().find_non_finite(*tensors, found); }};
    });
    add("check_gradients", std::to_string(count), [=] {
      auto tensors = std::make_shared<Tensors>();
      OpCost cost;
      for (const Shape& shape : shapes) {
        tensors->push_back(noise(shape));
        cost.read += static_cast<double>(tensors->back().bytes());
      }
      const Tensor found = Tensor::zeros({}, {.dtype = DType::i64}), norm = Tensor::zeros({}),
                   scale = Tensor::zeros({});
      return CpuCase{cost, [=] {
                       cpu().check_gradients(
                           {.gradients = *tensors, .max_norm = 1, .found = found, .norm = norm, .grad_scale = scale});
                     }};
    });
    add("average", std::to_string(count), [=] {
      auto tensors = std::make_shared<std::vector<AveragedTensor>>();
      OpCost cost;
      for (const Shape& shape : shapes) {
        tensors->push_back({.average = noise(shape), .value = noise(shape)});
        cost.read += 2 * static_cast<double>(tensors->back().value.bytes());
        cost.written += static_cast<double>(tensors->back().value.bytes());
      }
      return CpuCase{cost, [=] { cpu().average(*tensors, 0.999f); }};
    });
  }

 private:
  void add(const std::string& op, const std::string& shape, std::function<CpuCase()> make) {
    const std::string name = op + "/" + shape + "/" + name_of(dtype_);
    if (seen_.insert(name).second) all_.push_back({name, std::move(make)});
  }

  void one_pass(const std::string& op, const Shape& shape, int inputs,
                const std::function<void(const Tensors&, const Tensor&)>& run) {
    add(op, text_of(shape), [=, dtype = dtype_] {
      Tensors x;
      for (int i = 0; i < inputs; ++i) x.push_back(activation(shape, dtype));
      const Tensor y = activation(shape, dtype);
      OpCost cost = pass_cost({}, {&y});
      for (const Tensor& input : x) cost.read += static_cast<double>(input.bytes());
      return CpuCase{cost, [=] { run(x, y); }};
    });
  }

  static BatchNormForward forward_arguments(const Shape& shape, DType dtype, bool residual) {
    const Shape channels = {shape[3]};
    BatchNormForward args = {.x = activation(shape, dtype)};
    args.gamma = Tensor::full(channels, 1.0);
    args.beta = Tensor::zeros(channels);
    if (residual) args.residual = activation(shape, dtype);
    args.relu = true;
    args.running_mean = Tensor::zeros(channels);
    args.running_var = Tensor::full(channels, 1.0);
    args.y = activation(shape, dtype);
    args.mean = Tensor::zeros(channels);
    args.rstd = Tensor::zeros(channels);
    return args;
  }

  static std::string name_of(DType dtype) { return dtype == DType::f32 ? "fp32" : "bf16"; }

  DType dtype_;
  std::vector<NamedCase> all_;
  std::set<std::string> seen_;
};

}  // namespace

std::vector<NamedCase> cpu_cases(models::ResNet& net, const CpuCasesOptions& options) {
  Cases cases(options.dtype);
  const int64_t n = options.batch, size = options.image_size;
  cases.images({n, size, size, 3});
  Shape last, stem;
  for (const NetConvolution& layer : distinct_convolutions(net, n, size)) {
    const Conv2dShape& s = layer.shape;
    const Shape y = {s.n, s.p(), s.q(), s.k};
    if (stem.rank() == 0) stem = y;
    cases.convolution(s);
    cases.batch_norm(y);
    cases.elementwise(y);
    // Option A: a stage's first block skips from the narrower maps.
    if (net.specification().family == models::Family::cifar && s.stride == 2)
      cases.subsample({s.n, s.h, s.w, s.c}, s.k);
    last = y;
  }
  if (!net.specification().for_small_images()) cases.max_pool(stem);
  cases.head(last, net.num_classes());
  std::vector<Shape> shapes;
  for (const NamedParameter& parameter : net.parameters()) shapes.push_back(parameter.tensor.shape());
  cases.optimizer(shapes);
  return cases.take();
}

}  // namespace engine::bench
