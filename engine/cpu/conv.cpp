// Convolutions: a plan (conv_plan.h) for each problem, filters converted into its format on the way in. In training
// that happens at every use, a small share of the work; in inference filters are folded with the batch normalisation
// behind them and kept beside the parameter until one of the two changes.
#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/cpu/allocator.h"
#include "engine/cpu/backend.h"
#include "engine/cpu/columns.h"
#include "engine/cpu/dnnl.h"
#include "engine/cpu/threads.h"

namespace engine::cpu {
namespace {

constexpr size_t kMostFolded = 4;  // formats of one filter that are kept: batches of different sizes may want their own

// A filter and a bias with a batch normalisation folded in, in one plan's format.
struct Folded {
  std::string problem;
  float eps;
  std::array<std::weak_ptr<Storage>, 5> sources;  // bias, gamma, beta, mean, variance
  std::array<uint64_t, 5> versions;
  Buffer filter, bias;

  bool matches(const std::string& wanted, const ConvInference& args, const std::array<Tensor, 5>& tensors) const {
    if (problem != wanted || eps != args.eps) return false;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const std::shared_ptr<Storage> source = sources[i].lock();
      if (tensors[i].defined() != (source != nullptr)) return false;
      if (source && (source.get() != &tensors[i].storage() || versions[i] != source->version())) return false;
    }
    return true;
  }
};
using FoldedList = std::vector<std::shared_ptr<const Folded>>;

std::array<Tensor, 5> folded_sources(const ConvInference& args) {
  return {args.bias, args.gamma, args.beta, args.running_mean, args.running_var};
}

std::shared_ptr<const Folded> fold(const ConvInference& args, const ConvPlan& plan, const std::string& problem) {
  const Conv2dShape& s = args.shape;
  const std::array<Tensor, 5> tensors = folded_sources(args);
  std::shared_ptr<Folded> folded(new Folded{.problem = problem,
                                            .eps = args.eps,
                                            .sources = {},
                                            .versions = {},
                                            .filter = Buffer(plan.prepared_bytes()),
                                            .bias = Buffer(static_cast<size_t>(s.k) * sizeof(float))});
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].defined()) continue;
    folded->sources[i] = tensors[i].body()->storage;
    folded->versions[i] = tensors[i].storage().version();
  }
  const int64_t row = s.r * s.s * (s.c / s.groups);
  const Buffer scaled(static_cast<size_t>(s.k * row) * sizeof(float));
  const float* w = args.w.raw<float>();
  parallel_for(
      s.k,
      [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) {
          const double scale =
              args.gamma.raw<float>()[k] / std::sqrt(double{args.running_var.raw<float>()[k]} + args.eps);
          const double bias = args.bias.defined() ? args.bias.raw<float>()[k] : 0.0;
          folded->bias.as<float>()[k] =
              static_cast<float>(args.beta.raw<float>()[k] + (bias - args.running_mean.raw<float>()[k]) * scale);
          for (int64_t i = 0; i < row; ++i)
            scaled.as<float>()[k * row + i] = static_cast<float>(w[k * row + i] * scale);
        }
      },
      s.k * row > 4096);
  plan.prepare(scaled.as<float>(), folded->filter.as());
  return folded;
}

std::shared_ptr<const Folded> find_folded(const ConvInference& args, const ConvPlan& plan, const std::string& problem) {
  Storage& owner = args.w.storage();
  const bool valid = owner.derived && owner.derived_version == owner.version();
  auto list = valid ? std::static_pointer_cast<FoldedList>(owner.derived) : std::make_shared<FoldedList>();
  const std::array<Tensor, 5> tensors = folded_sources(args);
  for (const auto& folded : *list)
    if (folded->matches(problem, args, tensors)) return folded;
  std::erase_if(*list, [&](const auto& folded) { return folded->problem == problem; });
  if (list->size() >= kMostFolded) list->erase(list->begin());
  list->push_back(fold(args, plan, problem));
  owner.derived = list;
  owner.derived_version = owner.version();
  return list->back();
}

}  // namespace

void CpuBackend::conv_forward(const Conv2dShape& shape, const Tensor& x, const Tensor& w, const Tensor& bias,
                              const Tensor& y) {
  require_matrix_type("conv2d", x.dtype());
  const ConvProblem problem = {.direction = ConvDirection::forward,
                               .shape = shape,
                               .dtype = x.dtype(),
                               .x = layout_of(x),
                               .y = layout_of(y),
                               .bias = bias.defined()};
  const ConvOperands operands = {
      .x = x.raw(), .y = y.raw(), .w = w.raw<float>(), .bias = bias.defined() ? bias.raw<float>() : nullptr};
  use_threads();
  onednn::guarded("conv2d", [&] {
    const std::lock_guard lock(plans_mutex_);
    plans_.find(problem, operands).run(operands);
  });
}

void CpuBackend::conv_backward_data(const Conv2dShape& shape, const Tensor& dy, const Tensor& w, const Tensor& dx) {
  require_matrix_type("conv2d_backward_data", dy.dtype());
  const ConvProblem problem = {.direction = ConvDirection::backward_data,
                               .shape = shape,
                               .dtype = dy.dtype(),
                               .x = layout_of(dx),
                               .y = layout_of(dy)};
  const ConvOperands operands = {.x = dx.raw(), .y = dy.raw(), .w = w.raw<float>()};
  use_threads();
  onednn::guarded("conv2d_backward_data", [&] {
    const std::lock_guard lock(plans_mutex_);
    plans_.find(problem, operands).run(operands);
  });
}

void CpuBackend::conv_backward_weights(const Conv2dShape& shape, const Tensor& x, const Tensor& dy, const Tensor& dw,
                                       const Tensor& dbias) {
  require_matrix_type("conv2d_backward_weights", x.dtype());
  const ConvProblem problem = {.direction = ConvDirection::backward_weights,
                               .shape = shape,
                               .dtype = x.dtype(),
                               .x = layout_of(x),
                               .y = layout_of(dy)};
  const ConvOperands operands = {.x = x.raw(), .y = dy.raw(), .dw = dw.raw<float>()};
  use_threads();
  onednn::guarded("conv2d_backward_weights", [&] {
    const std::lock_guard lock(plans_mutex_);
    plans_.find(problem, operands).run(operands);
  });
  if (dbias.defined()) channel_sums(dy, dbias);
}

void CpuBackend::conv_inference(const ConvInference& args) {
  require_matrix_type("conv2d", args.x.dtype());
  const bool has_residual = args.residual.defined();
  const bool in_place = has_residual && args.residual.raw() == args.y.raw();
  const ConvProblem problem = {
      .direction = ConvDirection::inference,
      .shape = args.shape,
      .dtype = args.x.dtype(),
      .x = layout_of(args.x),
      .y = layout_of(args.y),
      .bias = true,
      .relu = args.relu,
      .residual = in_place ? Residual::in_place : (has_residual ? Residual::separate : Residual::none)};
  // For measuring, any filter and bias of the right size will do.
  ConvOperands operands = {.x = args.x.raw(),
                           .y = args.y.raw(),
                           .w = args.w.raw<float>(),
                           .bias = args.gamma.raw<float>(),
                           .residual = has_residual ? args.residual.raw() : nullptr};
  use_threads();
  onednn::guarded("conv2d", [&] {
    const std::lock_guard lock(plans_mutex_);
    const ConvPlan& plan = plans_.find(problem, operands);
    const std::shared_ptr<const Folded> folded = find_folded(args, plan, problem.text() + " " + plan.name());
    operands.w = nullptr;
    operands.prepared = folded->filter.as();
    operands.bias = folded->bias.as<float>();
    plan.run(operands);
  });
}

}  // namespace engine::cpu
