#include "bench/convolution_case.h"

#include <algorithm>
#include <array>
#include <functional>
#include <memory>

#include <nlohmann/json.hpp>

#include "bench/statistics.h"
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

constexpr int kFewestRuns = 3, kGpuRuns = 10;

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

// The median time of each. They take turns, so that what disturbs the machine for a while disturbs all of them.
std::vector<double> median_seconds(Timeline& timeline, double budget_each,
                                   const std::vector<std::function<void()>>& runs) {
  for (const auto& run : runs) run();
  std::vector<std::vector<double>> times(runs.size());
  const double budget = budget_each * static_cast<double>(runs.size());
  double spent = 0;
  for (int round = 0; round < kFewestRuns || spent < budget; ++round)
    for (size_t i = 0; i < runs.size(); ++i) {
      timeline.mark();
      runs[i]();
      timeline.mark();
      times[i].push_back(timeline.finish().back());
      spent += times[i].back();
    }
  std::vector<double> medians;
  medians.reserve(times.size());
  for (const std::vector<double>& series : times) medians.push_back(quantile(series, 0.5));
  return medians;
}

struct CpuCandidate {
  std::string name;
  std::unique_ptr<cpu::ConvCandidate> plan;
  Tensor prepared;  // in inference the filter is prepared once, in training at each use
};

std::vector<CpuCandidate> cpu_candidates(const ConvProblem& problem, const Operands& tensors) {
  std::vector<CpuCandidate> made;
  for (const std::string& name : cpu::conv_implementations(problem)) {
    CpuCandidate candidate{.name = name, .plan = nullptr, .prepared = {}};
    cpu::visit_candidates(problem, [&](const std::string& offered, const auto& make) {
      if (offered == name) candidate.plan = make();
      return candidate.plan == nullptr;
    });
    if (problem.direction == ConvDirection::inference) {
      candidate.prepared = make_tensor({static_cast<int64_t>(candidate.plan->prepared_bytes())}, DType::u8, {});
      candidate.plan->prepare(tensors.w.raw<float>(), candidate.prepared.raw());
    }
    made.push_back(std::move(candidate));
  }
  return made;
}

std::vector<Candidate> time_on_cpu(const ConvProblem& problem, double seconds_each) {
  const std::unique_ptr<Timeline> timeline = backend({}).make_timeline();
  const Operands tensors(problem, {});
  const std::vector<CpuCandidate> candidates = cpu_candidates(problem, tensors);
  std::vector<std::function<void()>> runs;
  for (const CpuCandidate& candidate : candidates)
    runs.push_back([&tensors, &candidate] {
      const bool inference = candidate.prepared.defined();
      candidate.plan->run({.x = tensors.x.raw(),
                           .y = tensors.y.raw(),
                           .w = inference ? nullptr : tensors.w.raw<float>(),
                           .dw = tensors.dw.raw<float>(),
                           .prepared = inference ? candidate.prepared.raw() : nullptr,
                           .bias = tensors.zeros.raw<float>(),
                           .residual = tensors.residual.defined() ? tensors.residual.raw() : nullptr});
    });
  const std::vector<double> seconds = median_seconds(*timeline, seconds_each, runs);
  std::vector<Candidate> timed;
  for (size_t i = 0; i < candidates.size(); ++i) timed.push_back({candidates[i].name, seconds[i]});
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
    const auto several = [&] {  // one alone would be over before the host has launched it
      for (int i = 0; i < kGpuRuns; ++i) run(device, conv, tensors);
    };
    timed.push_back({name, median_seconds(*timeline, seconds_each, {several})[0] / kGpuRuns});
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
