#include "bench/convolution_case.h"

#include <algorithm>
#include <array>
#include <functional>
#include <memory>

#include <nlohmann/json.hpp>

#include "engine/backend.h"
#include "engine/cpu/conv_candidate.h"
#include "engine/cuda/plans.h"
#include "engine/error.h"
#include "engine/random.h"

namespace engine::bench {
namespace {

using cpu::ConvDirection;
using cpu::ConvProblem;
using cpu::Residual;

constexpr int kFewestRuns = 3;

Tensor noise(const Shape& shape, DType dtype, Device device, Layout layout) {
  RandomStream random(2, 0, 0, purpose::kAugmentation);
  std::array<float, 4093> sample;  // repeated: a prime number of values, so that no row equals its neighbour
  for (float& value : sample) value = random.normal();
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = sample[i % sample.size()];
  return in_layout(Tensor::from(values, shape).to(device).to(dtype), layout);
}

struct Operands {
  Operands(const ConvProblem& problem, Device device) {
    const Conv2dShape& s = problem.shape;
    x = noise({s.n, s.h, s.w, s.c}, problem.dtype, device, problem.x);
    y = noise({s.n, s.p(), s.q(), s.k}, problem.dtype, device, problem.y);
    w = noise({s.k, s.r, s.s, s.c / s.groups}, DType::f32, device, Layout::nhwc);
    dw = Tensor::zeros(w.shape(), {DType::f32, device});
    ones = Tensor::full({s.k}, 1, {DType::f32, device});
    zeros = Tensor::zeros({s.k}, {DType::f32, device});
    if (problem.residual == Residual::separate) residual = y.clone();
    if (problem.residual == Residual::in_place) residual = y;
  }
  Tensor x, y, w, dw, ones, zeros, residual;
};

double median_seconds(Timeline& timeline, double budget, const std::function<void()>& run) {
  run();
  std::vector<double> times;
  for (double spent = 0; times.size() < kFewestRuns || spent < budget; spent += times.back()) {
    timeline.mark();
    run();
    timeline.mark();
    times.push_back(timeline.finish().back());
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

// As a step runs it: in training the filter is converted at each use, in inference it was prepared once.
std::vector<Candidate> time_on_cpu(const ConvProblem& problem, double seconds_each) {
  const std::unique_ptr<Timeline> timeline = backend({}).make_timeline();
  const Operands tensors(problem, {});
  const bool inference = problem.direction == ConvDirection::inference;
  std::vector<Candidate> timed;
  for (const std::string& name : cpu::conv_implementations(problem)) {
    std::unique_ptr<cpu::ConvCandidate> candidate;
    cpu::visit_candidates(problem, [&](const std::string& offered, const auto& make) {
      if (offered == name) candidate = make();
      return candidate == nullptr;
    });
    if (!candidate) continue;
    const Tensor prepared = make_tensor({static_cast<int64_t>(candidate->prepared_bytes())}, DType::u8, {});
    candidate->prepare(tensors.w.raw<float>(), prepared.raw());
    const cpu::ConvOperands operands = {.x = tensors.x.raw(),
                                        .y = tensors.y.raw(),
                                        .w = inference ? nullptr : tensors.w.raw<float>(),
                                        .dw = tensors.dw.raw<float>(),
                                        .prepared = inference ? prepared.raw() : nullptr,
                                        .bias = tensors.zeros.raw<float>(),
                                        .residual = tensors.residual.defined() ? tensors.residual.raw() : nullptr};
    timed.push_back({name, median_seconds(*timeline, seconds_each, [&] { candidate->run(operands); })});
  }
  return timed;
}

void run(Backend& device, const ConvolutionCase& conv, const Operands& t) {
  const ConvProblem& p = conv.problem;
  switch (p.direction) {
    case ConvDirection::forward:
      if (conv.statistics)
        return device.conv_batch_norm_forward(p.shape, t.x, t.w,
                                              {.x = t.y,
                                               .gamma = t.ones,
                                               .beta = t.zeros,
                                               .residual = {},
                                               .running_mean = t.zeros,
                                               .running_var = t.ones,
                                               .mean_shift = {},
                                               .y = make_tensor(t.y.shape(), t.y.dtype(), t.y.device()),
                                               .mean = make_tensor({p.shape.k}, DType::f32, t.y.device()),
                                               .rstd = make_tensor({p.shape.k}, DType::f32, t.y.device())});
      return device.conv_forward(p.shape, t.x, t.w, {}, t.y);
    case ConvDirection::backward_data:
      return device.conv_backward_data(p.shape, t.y, t.w, t.x);
    case ConvDirection::backward_weights:
      return device.conv_backward_weights(p.shape, t.x, t.y, t.dw, {});
    case ConvDirection::inference:
      return device.conv_inference({.shape = p.shape,
                                    .x = t.x,
                                    .w = t.w,
                                    .bias = {},
                                    .gamma = t.ones,
                                    .beta = t.zeros,
                                    .running_mean = t.zeros,
                                    .running_var = t.ones,
                                    .residual = t.residual,
                                    .relu = p.relu,
                                    .y = t.y});
  }
}

// The whole operation, with our kernel and with the library's: cuDNN may need passes of its own for an epilogue.
std::vector<Candidate> time_on_gpu(const ConvolutionCase& conv, Device where, double seconds_each) {
  Backend& device = backend(where);
  const std::unique_ptr<Timeline> timeline = device.make_timeline();
  const Operands tensors(conv.problem, where);
  std::vector<Candidate> timed;
  for (const char* name : {"own", "cudnn"}) {
    try {
      device.force_implementation(name);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::device) throw;
      continue;  // no such library here
    }
    timed.push_back({name, median_seconds(*timeline, seconds_each, [&] { run(device, conv, tensors); })});
  }
  device.force_implementation("");
  return timed;
}

kernels::DataType kernel_type(DType dtype) {
  return dtype == DType::bf16  ? kernels::DataType::bf16
         : dtype == DType::f16 ? kernels::DataType::f16
                               : kernels::DataType::f32;
}

}  // namespace

Choices chosen_implementations(Device device) {
  return nlohmann::json::parse(backend(device).export_plans()).at("plans").get<Choices>();
}

std::string implementation_of(const ConvolutionCase& conv, Device device, const Choices& choices) {
  const ConvProblem& p = conv.problem;
  if (device.type == DeviceType::cpu) {
    const auto choice = choices.find(p.text());
    return choice != choices.end() ? choice->second : std::string();
  }
  if (p.bias) return "own";  // in the epilogue, which the library is not asked for
  const bool inference = p.direction == ConvDirection::inference;
  const kernels::LibraryConvolution problem = {
      .shape = p.shape,
      .type = kernel_type(p.dtype),
      .direction = p.direction == ConvDirection::backward_data      ? kernels::ConvDirection::backward_data
                   : p.direction == ConvDirection::backward_weights ? kernels::ConvDirection::backward_weights
                                                                    : kernels::ConvDirection::forward,
      .f32_gradient = p.direction == ConvDirection::backward_weights,
      .scale_shift = inference,
      .residual = p.residual != Residual::none,
      .relu = p.relu};
  const auto choice = choices.find(cuda::problem_text(problem, conv.statistics));
  return choice != choices.end() ? choice->second : "own";
}

std::vector<Candidate> time_candidates(const ConvolutionCase& conv, Device device, double seconds_each) {
  std::vector<Candidate> timed = device.type == DeviceType::cpu ? time_on_cpu(conv.problem, seconds_each)
                                                                : time_on_gpu(conv, device, seconds_each);
  std::sort(timed.begin(), timed.end(), [](const Candidate& a, const Candidate& b) { return a.seconds < b.seconds; });
  return timed;
}

}  // namespace engine::bench
